#include "src/base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "src/base/beneath.h"
#include "src/base/temporary_file.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;

int OpenFolder(int at, const char* path) {
  const int folder = ::openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  // A folder that cannot be listed can be written all the same.
  return folder < 0 && errno == EACCES ? ::openat(at, path, O_PATH | O_DIRECTORY | O_CLOEXEC) : folder;
}

}  // namespace

Error AtomicFile::SystemError(const char* what) const {
  return Failure(path_ + ": cannot " + what + ": " + std::strerror(errno));
}

Error AtomicFile::IsThere() const {
  return UsageError(path_ + ": cannot write: something came under this name meanwhile, and is left as it is");
}

Result<AtomicFile> AtomicFile::Create(const std::string& path, AtomicFileOptions options) {
  std::error_code error;
  fs::path target = path;
  for (int links = 0; options.replace && fs::is_symlink(target, error) && links < kMostSymbolicLinks; links++)
    target = target.parent_path() / fs::read_symlink(target, error);
  const std::string parent = target.parent_path().string();
  const int folder = OpenFolder(AT_FDCWD, parent.empty() ? "." : parent.c_str());
  if (folder < 0) return Failure(path + ": cannot write: " + std::strerror(errno));
  auto file = CreateIn(folder, target.filename().string(), path, options);
  ::close(folder);
  return file;
}

Result<AtomicFile> AtomicFile::CreateIn(int folder, const std::string& name, const std::string& path,
                                        AtomicFileOptions options) {
  AtomicFile file;
  file.path_ = path, file.name_ = name, file.options_ = options;
  // A rename would replace a link instead of what it points to, and must never replace a folder or a device.
  struct stat there {};
  const bool found = ::fstatat(folder, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0;
  if (name.empty() || (found && !S_ISREG(there.st_mode))) {
    return Failure(path + ": cannot write: not a regular file");
  }
  file.folder_ = OpenFolder(folder, ".");
  if (file.folder_ < 0) return file.SystemError("write");
  // A nameless file vanishes with a process that is killed. Naming one takes /proc.
  if (options.nameless && ::access("/proc/self/fd", X_OK) == 0)
    file.fd_ = ::openat(folder, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
  if (file.fd_ < 0) BIFRONS_RETURN_IF_ERROR(file.MakeNamed());
  return file;
}

Status AtomicFile::MakeNamed() {
  for (int attempt = 0; attempt < 100; attempt++) {
    const std::string name = TemporaryName();
    const int fd = ::openat(folder_, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EEXIST) continue;
    if (fd < 0) return SystemError("write");
    MarkAsAlive(fd);
    struct stat status {};
    if (::fstat(fd, &status) == 0 && status.st_nlink > 0) {
      fd_ = fd;
      temporary_ = name;
      return {};
    }
    ::close(fd);  // who swept the folder came before the mark
  }
  errno = EEXIST;
  return SystemError("write");
}

// Links the nameless file under `name`. A link replaces nothing.
Status AtomicFile::LinkAt(const std::string& name, bool* taken) const {
  const std::string source = "/proc/self/fd/" + std::to_string(fd_);
  *taken = ::linkat(AT_FDCWD, source.c_str(), folder_, name.c_str(), AT_SYMLINK_FOLLOW) != 0;
  return *taken && errno != EEXIST ? Status(SystemError("name")) : Status();
}

Status AtomicFile::GiveName() {
  bool taken = false;
  BIFRONS_RETURN_IF_ERROR(LinkAt(name_, &taken));
  if (!taken) return {};
  if (!options_.replace) return IsThere();
  MarkAsAlive(fd_);
  for (int attempt = 0; taken && attempt < 100; attempt++) {
    const std::string name = TemporaryName();
    BIFRONS_RETURN_IF_ERROR(LinkAt(name, &taken));
    if (!taken) temporary_ = name;
  }
  return taken ? Status(IsThere()) : Replace();
}

Status AtomicFile::Replace() {
  if (::renameat(folder_, temporary_.c_str(), folder_, name_.c_str()) != 0) return SystemError("rename");
  temporary_.clear();
  return {};
}

// The temporary file gets its name unless something has it.
Status AtomicFile::TakeName() {
  if (::renameat2(folder_, temporary_.c_str(), folder_, name_.c_str(), RENAME_NOREPLACE) == 0) {
    temporary_.clear();
    return {};
  }
  if (errno == EEXIST) return IsThere();
  // NFS cannot do that, but has hard links.
  if (::linkat(folder_, temporary_.c_str(), folder_, name_.c_str(), 0) == 0) {
    ::unlinkat(folder_, std::exchange(temporary_, {}).c_str(), 0);
    return {};
  }
  if (errno == EEXIST) return IsThere();
  // Object stores behind FUSE have neither: an empty file of our own takes the name first.
  const int placeholder = ::openat(folder_, name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (placeholder < 0) return errno == EEXIST ? Status(IsThere()) : Status(SystemError("name"));
  ::close(placeholder);
  const Status replaced = Replace();
  if (!replaced.ok()) ::unlinkat(folder_, name_.c_str(), 0);
  return replaced;
}

AtomicFile::AtomicFile(AtomicFile&& o) noexcept
    : path_(std::move(o.path_)),
      name_(std::move(o.name_)),
      temporary_(std::exchange(o.temporary_, {})),
      options_(o.options_),
      folder_(std::exchange(o.folder_, -1)),
      fd_(std::exchange(o.fd_, -1)) {}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) ::unlinkat(folder_, temporary_.c_str(), 0);
  if (fd_ >= 0) ::close(fd_);
  if (folder_ >= 0) ::close(folder_);
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
  if (temporary_.empty()) {
    BIFRONS_RETURN_IF_ERROR(GiveName());
  } else {
    BIFRONS_RETURN_IF_ERROR(options_.replace ? Replace() : TakeName());
  }
  // Only now, as the lock on a temporary name ends with it.
  if (::close(std::exchange(fd_, -1)) != 0) return SystemError("close");
  ::fsync(folder_);  // best effort: some file systems refuse to sync a folder
  return {};
}

Status WriteFileAtomically(const std::string& path, std::span<const uint8_t> bytes,
                           AtomicFileOptions options) {
  BIFRONS_TRY(AtomicFile file, AtomicFile::Create(path, options));
  BIFRONS_RETURN_IF_ERROR(file.Write(bytes));
  return file.Commit();
}

}  // namespace bifrons
