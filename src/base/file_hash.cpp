#include "src/base/file_hash.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "src/base/input_file.h"
#include "src/base/sha256.h"
#include "src/base/stop.h"

namespace bifrons {
namespace {

Result<std::string> Hash(int fd, const std::string& path) {
  Sha256 hash;
  std::vector<uint8_t> buffer(size_t{64} << 10);
  for (;;) {
    if (StopRequested()) return Interrupted();
    const ssize_t count = ::read(fd, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Failure(path + ": cannot read: " + std::strerror(errno));
    if (count == 0) return hash.Finish();
    hash.Update(std::span(buffer).first(static_cast<size_t>(count)));
  }
}

}  // namespace

Result<std::string> Sha256OfFile(const std::string& path) {
  BIFRONS_TRY(const int fd, OpenRegularFile(path, O_RDONLY));
  auto hash = Hash(fd, path);
  ::close(fd);
  return hash;
}

}  // namespace bifrons
