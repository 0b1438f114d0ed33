// Files appear whole or not at all: written without a name where the system can do that, else under a
// temporary one in the same folder; then fsync, and only then the name.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "src/base/result.h"

namespace bifrons {

struct AtomicFileOptions {
  /// Whether a file that has the name already is replaced. If not, it stays, whenever it came there.
  bool replace = true;
  /// Whether the file may be without a name until Commit, which not every file system can do.
  bool nameless = true;
};

class AtomicFile {
 public:
  /// Opens a file that nobody sees yet. Where it may replace a link, it replaces what that points to. Errors
  /// name the path and the system's reason.
  static Result<AtomicFile> Create(const std::string& path, AtomicFileOptions options = {});
  /// The same for `name` (without a slash) in the folder that `folder` is open on; links are not followed.
  /// `path` stands in the errors.
  static Result<AtomicFile> CreateIn(int folder, const std::string& name, const std::string& path,
                                     AtomicFileOptions options);
  AtomicFile(AtomicFile&& o) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  /// Removes the temporary file unless Commit succeeded.
  ~AtomicFile();

  Status Write(std::span<const uint8_t> bytes);
  /// fsync, then the file gets its name, then fsync of the folder. Errors: the system's (kFailure); something
  /// has the name and is not to be replaced (kUsage).
  Status Commit();

 private:
  AtomicFile() = default;
  Error SystemError(const char* what) const;
  Error IsThere() const;
  Status MakeNamed();
  Status GiveName();
  Status LinkAt(const std::string& name, bool* taken) const;
  Status Replace();
  Status TakeName();

  std::string path_;       // as errors show it
  std::string name_;       // in folder_
  std::string temporary_;  // "" while the file has no name
  AtomicFileOptions options_;
  int folder_ = -1, fd_ = -1;
};

/// Create, Write, Commit.
Status WriteFileAtomically(const std::string& path, std::span<const uint8_t> bytes,
                           AtomicFileOptions options = {});

}  // namespace bifrons
