// A whole file, read-only in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "src/base/result.h"

namespace bifrons {

class MappedFile {
 public:
  /// Errors name the path and the system's reason, or what is there instead of a regular file. An empty file
  /// maps to an empty span.
  static Result<MappedFile> Open(const std::string& path);
  /// What `fd` is open on, which is closed. `path` is for messages.
  static Result<MappedFile> FromDescriptor(int fd, const std::string& path);
  MappedFile(MappedFile&& o) noexcept;
  MappedFile& operator=(MappedFile&& o) noexcept;
  ~MappedFile();

  std::span<const uint8_t> bytes() const { return {data_, size_}; }
  /// Takes the pages of `part`, which is of bytes(), out of this process's memory. They stay in the system's
  /// cache of the file, from where whoever looks at them again gets them.
  void DropPages(std::span<const uint8_t> part) const;
  const std::string& path() const { return path_; }

 private:
  MappedFile() = default;
  std::string path_;
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace bifrons
