#include "src/base/file_beneath.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "src/base/beneath.h"
#include "src/base/file_hash.h"

namespace bifrons {
namespace {

constexpr int64_t kSecond = 1'000'000'000;  // ns

int64_t TimeOf(const struct stat& status) { return status.st_mtim.tv_sec * kSecond + status.st_mtim.tv_nsec; }

}  // namespace

Result<FileBeneath> FileBeneath::Open(const std::string& folder, const std::string& relative) {
  FileBeneath file;
  file.path_ = folder + "/" + relative;
  BIFRONS_TRY(file.fd_, OpenBeneath(folder, relative, O_RDONLY | O_NONBLOCK));
  struct stat status {};
  if (::fstat(file.fd_, &status) != 0 || !S_ISREG(status.st_mode))
    return Failure(file.path_ + ": not a regular file");
  file.bytes_ = status.st_size, file.mtime_ns_ = TimeOf(status);
  return file;
}

FileBeneath::FileBeneath(FileBeneath&& o) noexcept
    : path_(std::move(o.path_)), fd_(std::exchange(o.fd_, -1)), bytes_(o.bytes_), mtime_ns_(o.mtime_ns_) {}

FileBeneath::~FileBeneath() {
  if (fd_ >= 0) ::close(fd_);
}

Result<std::string> FileBeneath::Sha256() const { return Sha256OfDescriptor(fd_, path_); }

bool FileBeneath::SetTime(int64_t mtime_ns) const {
  struct stat status {};
  if (::fstat(fd_, &status) != 0 || TimeOf(status) != mtime_ns_) return false;
  int64_t seconds = mtime_ns / kSecond, rest = mtime_ns % kSecond;
  if (rest < 0) seconds--, rest += kSecond;
  const struct timespec times[] = {{0, UTIME_OMIT}, {seconds, rest}};
  return ::futimens(fd_, times) == 0;
}

}  // namespace bifrons
