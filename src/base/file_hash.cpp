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

Result<std::string> Sha256OfDescriptor(int fd, const std::string& path, const std::stop_token& stop) {
  Sha256 hash;
  constexpr size_t kChunk = size_t{1} << 18;
  std::vector<uint8_t> buffer(kChunk);
  for (off_t at = 0;;) {
    if (StopRequested() || stop.stop_requested()) return Interrupted();
    const ssize_t count = ::pread(fd, buffer.data(), buffer.size(), at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Failure(path + ": cannot read: " + std::strerror(errno));
    if (count == 0) return hash.Finish();
    hash.Update(std::span<const uint8_t>(buffer).first(static_cast<size_t>(count)));
    at += count;
  }
}

Result<std::string> Sha256OfFile(const std::string& path, const std::stop_token& stop) {
  BIFRONS_TRY(const int fd, OpenRegularFile(path, O_RDONLY));
  auto hash = Sha256OfDescriptor(fd, path, stop);
  ::close(fd);
  return hash;
}

}  // namespace bifrons
