// Files appear whole or not at all: written without a name where the system can do that, else under a
// temporary one in the same folder; then fsync, and only then the name.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "src/base/result.h"

namespace bifrons {

class AtomicFile {
 public:
  /// Opens a file that nobody sees yet. Errors name the path and the system's reason.
  static Result<AtomicFile> Create(const std::string& path);
  AtomicFile(AtomicFile&& o) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  /// Removes the temporary file unless Commit succeeded.
  ~AtomicFile();

  Status Write(std::span<const uint8_t> bytes);
  /// fsync, then the file takes the place of `path`, then fsync of the folder.
  Status Commit();

 private:
  AtomicFile() = default;
  Error SystemError(const char* what) const;
  Status MakeNamed();
  Status GiveName();
  std::string path_;
  std::string temporary_;  // "" while the file has no name
  int fd_ = -1;
};

/// Create, Write, Commit.
Status WriteFileAtomically(const std::string& path, std::span<const uint8_t> bytes);

}  // namespace bifrons
