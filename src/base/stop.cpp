#include "src/base/stop.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

namespace bifrons {
namespace {

std::atomic<bool> requested{false};
// Made before main, so that a signal handler never has to.
const int descriptor = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

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
