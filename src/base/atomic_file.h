// Files appear whole or not at all: temporary name in the same folder, fsync, rename.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "src/base/result.h"

namespace bifrons {

class AtomicFile {
 public:
  /// Creates the temporary file beside `path`. Errors name the path and the system's reason.
  static Result<AtomicFile> Create(const std::string& path);
  AtomicFile(AtomicFile&& o) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  /// Removes the temporary file unless Commit succeeded.
  ~AtomicFile();

  Status Write(std::span<const uint8_t> bytes);
  /// fsync, close, rename over `path`, fsync of the folder.
  Status Commit();

 private:
  AtomicFile() = default;
  Error SystemError(const char* what) const;
  std::string path_, temporary_;
  int fd_ = -1;
};

/// Create, Write, Commit.
Status WriteFileAtomically(const std::string& path, std::span<const uint8_t> bytes);

}  // namespace bifrons
