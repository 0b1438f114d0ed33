#include "src/base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

namespace bifrons {
namespace {

std::string Folder(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path();
  return folder.empty() ? "." : folder;
}

}  // namespace

Error AtomicFile::SystemError(const char* what) const {
  return Failure(path_ + ": cannot " + what + ": " + std::strerror(errno));
}

Result<AtomicFile> AtomicFile::Create(const std::string& path) {
  namespace fs = std::filesystem;
  AtomicFile file;
  std::error_code error;
  // A rename would replace a link instead of what it points to, and must never replace a folder or a device.
  file.path_ = fs::is_symlink(path, error) ? fs::weakly_canonical(path, error).string() : path;
  const fs::file_status status = fs::status(file.path_, error);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    return Failure(path + ": cannot write: not a regular file");
  }
  // A nameless file vanishes with a process that is killed. Not every filesystem has them, and naming one
  // takes /proc.
  if (::access("/proc/self/fd", X_OK) == 0)
    file.fd_ = ::open(Folder(file.path_).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
  if (file.fd_ < 0) BIFRONS_RETURN_IF_ERROR(file.MakeNamed());
  return file;
}

Status AtomicFile::MakeNamed() {
  std::string name = path_ + ".XXXXXX.tmp";
  fd_ = ::mkostemps(name.data(), 4, O_CLOEXEC);
  if (fd_ < 0) return SystemError("write");
  temporary_ = name;
  const mode_t mask = ::umask(0);  // mkostemps makes 0600; a result should have the usual permissions
  ::umask(mask);
  ::fchmod(fd_, 0666 & ~mask);
  return {};
}

// Links the nameless file at `path_` where nothing is there, else at a temporary name: a link replaces
// nothing.
Status AtomicFile::GiveName() {
  const std::string source = "/proc/self/fd/" + std::to_string(fd_);
  if (::linkat(AT_FDCWD, source.c_str(), AT_FDCWD, path_.c_str(), AT_SYMLINK_FOLLOW) == 0) return {};
  for (int attempt = 0; errno == EEXIST && attempt < 100; attempt++) {
    const std::string name =
        path_ + "." + std::to_string(::getpid()) + "-" + std::to_string(attempt) + ".tmp";
    if (::linkat(AT_FDCWD, source.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0) continue;
    temporary_ = name;
    return {};
  }
  return SystemError("name");
}

AtomicFile::AtomicFile(AtomicFile&& o) noexcept
    : path_(std::move(o.path_)), temporary_(std::exchange(o.temporary_, {})), fd_(std::exchange(o.fd_, -1)) {}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Status AtomicFile::Write(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return SystemError("write");
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return {};
}

Status AtomicFile::Commit() {
  if (::fsync(fd_) != 0) return SystemError("sync");
  if (temporary_.empty()) BIFRONS_RETURN_IF_ERROR(GiveName());
  if (::close(std::exchange(fd_, -1)) != 0) return SystemError("close");
  if (!temporary_.empty() && ::rename(temporary_.c_str(), path_.c_str()) != 0) return SystemError("rename");
  temporary_.clear();
  if (const int fd = ::open(Folder(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); fd >= 0) {
    ::fsync(fd);  // best effort: some filesystems refuse to sync a folder
    ::close(fd);
  }
  return {};
}

Status WriteFileAtomically(const std::string& path, std::span<const uint8_t> bytes) {
  BIFRONS_TRY(AtomicFile file, AtomicFile::Create(path));
  BIFRONS_RETURN_IF_ERROR(file.Write(bytes));
  return file.Commit();
}

}  // namespace bifrons
