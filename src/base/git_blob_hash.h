// The name that git gives to a file's contents.
#pragma once

#include "src/base/message_digest.h"

namespace bifrons {

/// SHA-1 over "blob SIZE", a zero byte and the contents, which Update takes; Finish gives 40 digits. It tells
/// what git would, and protects against accidents only.
class GitBlobHash : public MessageDigest {
 public:
  /// Of contents of `size` bytes.
  explicit GitBlobHash(int64_t size);
};

}  // namespace bifrons
