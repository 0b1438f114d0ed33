// A blob while it is downloaded: what came so far stays on the disk under another name, and only what has the
// right hash gets the blob's own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "src/base/message_digest.h"
#include "src/base/result.h"

namespace bifrons {

class PartialBlob {
 public:
  /// For the blob at `path`, which is to be `size` bytes with `hash` (RemoteFile::hash). Takes up what an
  /// earlier download left under `path`.incomplete, and reads it for its hash; what is longer than `size` is
  /// dropped. Errors: the system's (kFailure), Interrupted().
  static Result<PartialBlob> Open(const std::string& path, int64_t size, const std::string& hash);
  PartialBlob(PartialBlob&& o) noexcept;
  PartialBlob& operator=(PartialBlob&&) = delete;
  ~PartialBlob();

  int64_t size() const { return size_; }
  /// Bytes that are there.
  int64_t received() const { return received_; }

  /// Errors: the system's (a full disk: kFailure), more than `size` bytes (kBadData).
  Status Append(std::string_view bytes);
  /// Forgets what is there.
  Status Restart();
  /// Of a blob that has all its bytes: whether they have the right hash. If so they are synced and get the
  /// blob's name; else they are removed.
  Result<bool> Finish();

 private:
  PartialBlob() = default;
  Error SystemError(const char* what) const;
  void StartHash();

  std::string path_, temporary_, hash_;
  std::unique_ptr<MessageDigest> digest_;  // of what is there
  int64_t size_ = 0, received_ = 0;
  int fd_ = -1;
};

}  // namespace bifrons
