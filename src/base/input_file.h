// Opening what a path leads to so that nobody waits for ever: regular files, and streams that signals end.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>

#include "src/base/result.h"

namespace bifrons {

/// As open(2), but for regular files alone; a pipe, socket or device is neither waited for nor touched. The
/// descriptor is the caller's. Errors (kBadData): the system's reason, or what there is instead.
Result<int> OpenRegularFile(const std::string& path, int flags, mode_t mode = 0);

/// What may be a file or a pipe: bytes in order, each once.
class InputStream {
 public:
  /// "-" is standard input. A named pipe that nobody writes yet is no error. Errors (kBadData): the system's
  /// reason; devices without an end (terminals have one).
  static Result<InputStream> Open(const std::string& path);
  InputStream(InputStream&& o) noexcept;
  InputStream& operator=(InputStream&&) = delete;
  ~InputStream();

  /// Waits for bytes; 0 at the end. Errors: the system's (kFailure); Interrupted() when a stop is requested,
  /// before or while it waits.
  Result<size_t> Read(std::span<char> buffer);
  /// "standard input" or the path.
  const std::string& name() const { return name_; }

 private:
  InputStream() = default;
  std::string name_;
  int fd_ = -1;
  bool owned_ = false;
};

}  // namespace bifrons
