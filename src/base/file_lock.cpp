#include "src/base/file_lock.h"

#include <poll.h>
#include <sys/file.h>

#include <cerrno>

#include "src/base/stop.h"

namespace bifrons {

Status WaitForLock(int file) {
  constexpr int kBetweenTries = 50;  // ms
  // Not by waiting for the lock itself, which signals' handlers would not end.
  while (::flock(file, LOCK_EX | LOCK_NB) != 0 && (errno == EWOULDBLOCK || errno == EINTR)) {
    pollfd stop = {StopDescriptor(), POLLIN, 0};
    ::poll(&stop, 1, kBetweenTries);
    if (StopRequested()) return Interrupted();
  }
  return {};
}

}  // namespace bifrons
