#include "src/base/input_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "src/base/stop.h"

namespace bifrons {
namespace {

const char* KindOf(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

Error NotRegular(const std::string& path, mode_t mode) {
  return DataError(path + ": not a regular file but " + KindOf(mode));
}

bool HasAnEnd(int fd, const struct stat& status) {
  return !S_ISBLK(status.st_mode) &&
         (!S_ISCHR(status.st_mode) || status.st_rdev == makedev(1, 3) /* null */ || ::isatty(fd));
}

}  // namespace

Result<int> OpenRegularFile(const std::string& path, int flags, mode_t mode) {
  // Looked at first, as to open a device may set it in motion, and again afterwards, as it may be another by
  // then.
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) return NotRegular(path, status.st_mode);
  const int fd = ::open(path.c_str(), flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, mode);
  const char* const failed = (flags & O_ACCMODE) == O_RDONLY ? ": cannot open: " : ": cannot write: ";
  if (fd < 0) return DataError(path + failed + std::strerror(errno));
  if (::fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) return fd;
  ::close(fd);
  return NotRegular(path, status.st_mode);
}

Result<InputStream> InputStream::Open(const std::string& path) {
  InputStream stream;
  stream.name_ = path == "-" ? "standard input" : path;
  if (path == "-") {
    stream.fd_ = STDIN_FILENO;
    return stream;
  }
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) return NotRegular(path, status.st_mode);
  // O_NONBLOCK: to open a named pipe would wait for its writer, where no signal's handler could end it.
  stream.fd_ = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (stream.fd_ < 0) return DataError(path + ": cannot open: " + std::strerror(errno));
  stream.owned_ = true;
  if (::fstat(stream.fd_, &status) == 0 && S_ISDIR(status.st_mode)) return DataError(path + ": is a folder");
  if (!HasAnEnd(stream.fd_, status)) return DataError(path + ": a device, which has no end; name a file");
  return stream;
}

InputStream::InputStream(InputStream&& o) noexcept
    : name_(std::move(o.name_)), fd_(std::exchange(o.fd_, -1)), owned_(o.owned_) {}

InputStream::~InputStream() {
  if (owned_ && fd_ >= 0) ::close(fd_);
}

Result<size_t> InputStream::Read(std::span<char> buffer) {
  for (;;) {
    if (StopRequested()) return Interrupted();
    // Also before the first read: of a named pipe without a writer that would be the end.
    struct pollfd descriptors[] = {{fd_, POLLIN, 0}, {StopDescriptor(), POLLIN, 0}};
    const int ready = ::poll(descriptors, 2, -1);
    if (ready < 0 && errno != EINTR) return Failure(name_ + ": cannot read: " + std::strerror(errno));
    if (ready <= 0 || descriptors[0].revents == 0) continue;
    const ssize_t count = ::read(fd_, buffer.data(), buffer.size());
    if (count >= 0) return static_cast<size_t>(count);
    if (errno != EINTR && errno != EAGAIN) return Failure(name_ + ": cannot read: " + std::strerror(errno));
  }
}

}  // namespace bifrons
