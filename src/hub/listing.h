// What a repository holds, as the hub's API tells it. Nothing in it is believed: names become paths.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"

namespace bifrons {

/// A file of a repository.
struct RemoteFile {
  std::string name;   // below the repository; IsPlainRelativePath
  int64_t size = -1;  // bytes; -1 = not told
  /// What names its blob and proves its contents: 64 hexadecimal digits of SHA-256 (large files, in git LFS)
  /// or 40 of git's SHA-1; "" = not told.
  std::string hash;
};

struct Listing {
  std::string commit;  // 40 hexadecimal digits
  std::vector<RemoteFile> files;
};

/// Longer listings are refused: the hub's have some 300 bytes per file, of at most 50,000 files.
constexpr size_t kMaxListingBytes = size_t{16} << 20;

/// Larger files are refused, so that sums of sizes stay numbers.
constexpr int64_t kLargestFile = int64_t{1} << 44;

/// The answer to GET /api/models/ORG/NAME/revision/REVISION?blobs=true. `from` is for messages. Errors
/// (kBadData): no such JSON, a commit or hash that is none, a size below 0 or above kLargestFile, a name that
/// leads out of a folder or stands twice.
Result<Listing> ParseListing(std::string_view json, const std::string& from);

/// Whether it is a path that stays below any folder: no empty part, ".", "..", backslash or control
/// character.
bool IsPlainRelativePath(std::string_view path);

}  // namespace bifrons
