#include "src/jobs/output_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <utility>
#include <vector>

#include "src/base/beneath.h"
#include "src/base/temporary_file.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAway = "; move it away, or take another folder or name";

const char* KindOf(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISLNK(mode)) return "a symbolic link";
  if (S_ISFIFO(mode)) return "a pipe";
  return "no regular file";
}

std::string NameOf(const std::string& file) { return fs::path(file).filename().string(); }

// Whoever writes the file anew, or another in its place, changes one of these.
bool IsSame(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

}  // namespace

Result<OutputFiles> OutputFiles::Open(const std::string& folder) {
  const int root = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return Failure(folder + ": cannot open this folder: " + std::strerror(errno));
  RemoveAbandoned(root);
  return OutputFiles(folder, root);
}

OutputFiles::OutputFiles(OutputFiles&& o) noexcept
    : folder_(o.folder_), root_(std::exchange(o.root_, -1)), swept_(std::move(o.swept_)) {}

OutputFiles::~OutputFiles() {
  if (root_ >= 0) ::close(root_);
}

bool OutputFiles::IsThere() const {
  struct stat named {
  }, opened{};
  return ::stat(folder_.c_str(), &named) == 0 && ::fstat(root_, &opened) == 0 &&
         named.st_ino == opened.st_ino && named.st_dev == opened.st_dev;
}

std::string OutputFiles::PathOf(const std::string& file) const { return (fs::path(folder_) / file).string(); }

// The folder that holds the file. Made one by one: the output folder itself is never made anew.
Result<int> OutputFiles::OpenFolderOf(const std::string& file) {
  const std::string parent = fs::path(file).parent_path().string();
  constexpr int kFlags = O_RDONLY | O_DIRECTORY;
  auto opened = OpenBeneath(root_, parent, kFlags);
  fs::path way;
  for (const fs::path& name : opened.ok() ? fs::path() : fs::path(parent)) {
    BIFRONS_TRY(const int above, OpenBeneath(root_, way.string(), kFlags));
    const bool made = ::mkdirat(above, name.c_str(), 0777) == 0 || errno == EEXIST;
    const int why = errno;
    ::close(above);
    way /= name;
    if (!made) return Failure(PathOf(way.string()) + ": cannot make this folder: " + std::strerror(why));
    opened = OpenBeneath(root_, way.string(), kFlags);
    if (!opened.ok()) break;
    if (way != parent) ::close(*opened);
  }
  if (!opened.ok()) {
    return UsageError(PathOf(file) + ": cannot be written: " + opened.error().message + kAway);
  }
  const std::lock_guard lock(mutex_);
  if (!parent.empty() && swept_.insert(std::hash<std::string>()(parent)).second) RemoveAbandoned(*opened);
  return opened;
}

Result<std::optional<OutputFiles::Found>> OutputFiles::LookIn(int folder, const std::string& file) const {
  Found found;
  if (::fstatat(folder, NameOf(file).c_str(), &found.status_, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return std::optional<Found>();
    return Failure(PathOf(file) + ": cannot write: " + std::strerror(errno));
  }
  if (!S_ISREG(found.status_.st_mode)) {
    return UsageError(PathOf(file) + ": cannot be written: " + KindOf(found.status_.st_mode) +
                      " stands there" + kAway);
  }
  return std::optional(found);
}

Result<std::optional<OutputFiles::Found>> OutputFiles::Look(const std::string& file) {
  BIFRONS_TRY(const int folder, OpenFolderOf(file));
  auto found = LookIn(folder, file);
  ::close(folder);
  return found;
}

bool OutputFiles::Holds(int folder, const std::string& file, std::span<const uint8_t> bytes) const {
  const auto opened = OpenBeneath(folder, NameOf(file), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!opened.ok()) return false;
  std::vector<uint8_t> there(bytes.size() + 1);
  size_t size = 0;
  for (ssize_t n = 1; n > 0 && size < there.size(); size += static_cast<size_t>(std::max<ssize_t>(n, 0)))
    n = ::read(*opened, there.data() + size, there.size() - size);
  ::close(*opened);
  return size == bytes.size() && std::equal(bytes.begin(), bytes.end(), there.begin());
}

Status OutputFiles::Write(const std::string& file, std::span<const uint8_t> bytes,
                          const std::optional<Found>& over, AtomicFileOptions options) {
  BIFRONS_TRY(const int folder, OpenFolderOf(file));
  const Status written = [&]() -> Status {
    BIFRONS_TRY(const auto now, LookIn(folder, file));
    options.replace = over && now && IsSame(now->status_, over->status_);
    const bool came = now && !options.replace;
    if (came && Holds(folder, file, bytes)) return {};
    if (came) {
      return UsageError(PathOf(file) + ": cannot be written: another file came there meanwhile" + kAway);
    }
    BIFRONS_TRY(AtomicFile made, AtomicFile::CreateIn(folder, NameOf(file), PathOf(file), options));
    BIFRONS_RETURN_IF_ERROR(made.Write(bytes));
    const Status committed = made.Commit();
    const bool taken = !committed.ok() && committed.error().kind == ErrorKind::kUsage;
    return taken && Holds(folder, file, bytes) ? Status() : committed;
  }();
  ::close(folder);
  return written;
}

Status OutputFiles::Probe(std::span<const uint8_t> bytes) const {
  BIFRONS_TRY(AtomicFile probe, AtomicFile::CreateIn(root_, "probe", PathOf("probe"), {}));
  return probe.Write(bytes);
}

}  // namespace bifrons
