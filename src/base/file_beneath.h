// A regular file below a folder, as it stands there: how much it holds, since when, and what.
#pragma once

#include <cstdint>
#include <string>

#include "src/base/result.h"

namespace bifrons {

class FileBeneath {
 public:
  /// Errors: OpenBeneath's; not a regular file (kFailure).
  static Result<FileBeneath> Open(const std::string& folder, const std::string& relative);
  FileBeneath(FileBeneath&& o) noexcept;
  FileBeneath& operator=(FileBeneath&&) = delete;
  ~FileBeneath();

  int64_t bytes() const { return bytes_; }
  int64_t mtime_ns() const { return mtime_ns_; }  // since 1970
  /// Of its contents, as 64 hexadecimal digits. Errors: cannot be read (kFailure), Interrupted().
  Result<std::string> Sha256() const;
  /// Makes `mtime_ns` its time, unless somebody has written it since it was opened. Whether that went well.
  bool SetTime(int64_t mtime_ns) const;

 private:
  FileBeneath() = default;
  std::string path_;
  int fd_ = -1;
  int64_t bytes_ = 0, mtime_ns_ = 0;
};

}  // namespace bifrons
