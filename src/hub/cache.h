// The hub's cache on this machine, in the layout that Python's huggingface_hub has, so that both use each
// other's downloads: models--ORG--NAME/{blobs/HASH, snapshots/COMMIT/FILE → blob, refs/REVISION}.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "src/base/result.h"
#include "src/hub/repository.h"

namespace bifrons {

/// An advisory lock on a file, held while the object lives.
class FileLock {
 public:
  /// Waits for whoever holds it. Makes the file and its folder. Errors: the system's (kFailure),
  /// Interrupted().
  static Result<FileLock> Take(const std::string& path);
  FileLock(FileLock&& o) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_;
};

/// One repository's part of the cache.
class RepositoryCache {
 public:
  /// `cache`: the folder of all repositories; `name`: "ORG/NAME".
  RepositoryCache(const std::string& cache, const std::string& name);

  const std::string& folder() const { return folder_; }
  std::string Blob(const std::string& hash) const { return folder_ + "/blobs/" + hash; }
  std::string Snapshot(const std::string& commit) const { return folder_ + "/snapshots/" + commit; }

  /// The snapshot of `revision` as the last pull left it, if it has all that a model needs.
  std::optional<std::string> FindWhole(const std::string& revision) const;

  /// Makes the folders for blobs and for `commit`'s snapshot. Errors: the system's (kFailure).
  Status MakeFolders(const std::string& commit) const;
  /// The lock that whoever downloads blob `hash` has to hold; it is huggingface_hub's.
  Result<FileLock> Lock(const std::string& hash) const;
  /// Whether blob `hash` is there, `size` bytes long.
  bool HasBlob(const std::string& hash, int64_t size) const;
  /// Makes `file` of `commit`'s snapshot lead to blob `hash`. `file` has no slash. Errors: the system's.
  Status Link(const std::string& commit, const std::string& file, const std::string& hash) const;
  /// Records that `revision` is `commit`, unless that is recorded, or `revision` a commit. Errors: the
  /// system's.
  Status WriteRef(const std::string& revision, const std::string& commit) const;

 private:
  /// What `revision` was when it was last recorded; "" = never.
  std::string ReadRef(const std::string& revision) const;

  std::string folder_, locks_;
};

}  // namespace bifrons
