#include "src/base/beneath.h"

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <string_view>
#include <vector>

namespace bifrons {
namespace {

using Names = std::deque<std::string>;

// Those between the slashes; empty ones and "." mean nothing, but a slash at the end asks for a folder.
Names Split(std::string_view path) {
  Names names;
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    if (end > at && path.substr(at, end - at) != ".") names.emplace_back(path.substr(at, end - at));
    at = end + 1;
  }
  if (path.ends_with('/')) names.emplace_back(".");
  return names;
}

// The folders on the way, so that a ".." goes back to where it came from, whatever was moved meanwhile.
class Way {
 public:
  explicit Way(int root) : root_(root) {}
  ~Way() {
    while (Leave()) continue;
  }
  Way(const Way&) = delete;
  Way& operator=(const Way&) = delete;

  int here() const { return folders_.empty() ? root_ : folders_.back(); }
  void Enter(int folder) { folders_.push_back(folder); }
  /// False at the root.
  bool Leave() {
    if (folders_.empty()) return false;
    ::close(folders_.back());
    folders_.pop_back();
    return true;
  }

 private:
  const int root_;
  std::vector<int> folders_;
};

}  // namespace

Result<int> OpenBeneath(int folder, const std::string& relative, int flags, mode_t mode) {
  const auto failed = [&] { return Failure(relative + ": cannot open: " + std::strerror(errno)); };
  const auto outside = [&] { return Failure(relative + ": leads out of its folder"); };
  if (relative.starts_with('/')) return outside();
  Way way(folder);
  Names names = Split(relative);
  if (names.empty()) names.emplace_back(".");
  for (int links = 0; !names.empty();) {
    const std::string name = names.front();
    names.pop_front();
    if (name == "..") {
      if (!way.Leave()) return outside();
      if (names.empty()) names.emplace_back(".");
      continue;
    }
    const bool last = names.empty();
    const int how = last ? flags : O_PATH | O_DIRECTORY;
    const int opened = ::openat(way.here(), name.c_str(), how | O_NOFOLLOW | O_CLOEXEC, mode);
    const int why = errno;
    if (opened >= 0 && last && !(flags & O_PATH)) return opened;
    if (opened >= 0 && !last) {
      way.Enter(opened);
      continue;
    }
    // Of a link, O_NOFOLLOW gives an error, or with O_PATH the link itself.
    char target[PATH_MAX];
    const ssize_t size = opened < 0 && why != ELOOP && why != ENOTDIR
                             ? -1
                             : ::readlinkat(way.here(), name.c_str(), target, sizeof target);
    if (size < 0) {
      if (opened >= 0) return opened;
      errno = why;
      return failed();
    }
    if (opened >= 0) ::close(opened);
    errno = ELOOP;
    if (++links > kMostSymbolicLinks || size == sizeof target || (last && (flags & O_NOFOLLOW)))
      return failed();
    const std::string_view path(target, static_cast<size_t>(size));
    if (path.starts_with('/')) return outside();
    const Names more = Split(path);
    names.insert(names.begin(), more.begin(), more.end());
  }
  return failed();
}

Result<int> OpenBeneath(const std::string& folder, const std::string& relative, int flags, mode_t mode) {
  const int root = ::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return Failure(folder + ": cannot open: " + std::strerror(errno));
  auto opened = OpenBeneath(root, relative, flags, mode);
  ::close(root);
  if (!opened.ok()) return Failure(folder + "/" + opened.error().message);
  return opened;
}

}  // namespace bifrons
