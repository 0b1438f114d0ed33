#include "src/base/stop.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

namespace bifrons {
namespace {

std::atomic<bool> requested{false};
// Never one of the standard streams, where somebody closed one.
int MakeDescriptor() {
  const int made = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (made < 0 || made > STDERR_FILENO) return made;
  const int moved = ::fcntl(made, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  ::close(made);
  return moved;
}

// Made before main, so that a signal handler never has to.
const int descriptor = MakeDescriptor();

}  // namespace

void RequestStop() {
  if (requested.exchange(true)) return;
  const int before = errno;
  const uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(descriptor, &one, sizeof one);
  errno = before;
}

bool StopRequested() { return requested; }

void ClearStop() {
  uint64_t count = 0;
  [[maybe_unused]] const auto read = ::read(descriptor, &count, sizeof count);
  requested = false;
}

int StopDescriptor() { return descriptor; }

Error Interrupted() { return Failure("interrupted"); }

}  // namespace bifrons
