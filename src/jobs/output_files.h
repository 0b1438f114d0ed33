// Files below the output folder, where other people's may stand: looked at before they are written, made
// without replacing anything, and never outside, whatever links there are.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>

#include "src/base/atomic_file.h"
#include "src/base/result.h"

namespace bifrons {

class OutputFiles {
 public:
  /// A regular file as it stood under its name when it was looked at.
  class Found {
   public:
    int64_t bytes() const { return status_.st_size; }

   private:
    friend class OutputFiles;
    struct stat status_ {};
  };

  /// `folder` has to be there. What dead processes left half-written in it is removed.
  static Result<OutputFiles> Open(const std::string& folder);
  OutputFiles(OutputFiles&& o) noexcept;
  OutputFiles& operator=(OutputFiles&&) = delete;
  ~OutputFiles();

  /// Whether the folder is still there under its name.
  bool IsThere() const;

  // The rest may be called from any thread. `file` is relative to the folder. Errors name it.

  /// What stands under `file`, none if nothing does; the folders on its way are made, and swept like the
  /// folder itself. Errors: another thing than a regular file stands there, or one of the folders leads out
  /// (kUsage); the system's (kFailure).
  Result<std::optional<Found>> Look(const std::string& file);
  /// Writes `file`: over what was found there, if it is still the same, or else without replacing anything.
  /// If something came there meanwhile that has these very bytes, it is taken for this. Errors: something
  /// else did (kUsage), Look's, AtomicFile's.
  Status Write(const std::string& file, std::span<const uint8_t> bytes, const std::optional<Found>& over,
               AtomicFileOptions options = {});
  /// Whether the folder takes `bytes` at all. The file never gets a name.
  Status Probe(std::span<const uint8_t> bytes) const;

 private:
  OutputFiles(std::string folder, int root) : folder_(std::move(folder)), root_(root) {}
  std::string PathOf(const std::string& file) const;
  Result<int> OpenFolderOf(const std::string& file);
  Result<std::optional<Found>> LookIn(int folder, const std::string& file) const;
  bool Holds(int folder, const std::string& file, std::span<const uint8_t> bytes) const;

  const std::string folder_;
  int root_ = -1;
  std::mutex mutex_;
  std::unordered_set<uint64_t> swept_;  // hashes of folders' names
};

}  // namespace bifrons
