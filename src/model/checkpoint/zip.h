// Zip archives, as far as torch.save writes them: the central directory with its zip64 fields, stored entries
// in place, deflated ones on request. Format: PKWARE's APPNOTE.TXT, sections 4.3 and 4.4.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"

namespace bifrons {

struct ZipEntry {
  bool deflated = false;
  std::span<const uint8_t> data;  // as it lies in the archive
  uint64_t inflated_size = 0;     // as declared; = data.size() when stored
};

/// Points into the bytes it was opened on. Checksums are not checked: torch can write archives without them,
/// hashing gigabytes would dominate loading, and no reader here trusts the contents anyway.
class ZipArchive {
 public:
  /// Refused, with `file` and the entry in the message: absolute names and names with "..", repeated names,
  /// entries that overlap, encrypted or multi-part archives, anything out of bounds.
  static Result<ZipArchive> Open(std::span<const uint8_t> bytes, const std::string& file);

  const std::map<std::string_view, ZipEntry>& entries() const { return entries_; }
  /// nullptr when there is none.
  const ZipEntry* Find(std::string_view name) const;

  /// The entry's contents: in place when stored, else inflated into `buffer`. An error if they are larger
  /// than `limit` bytes, or larger than deflate can make of the entry's bytes (a zip bomb), or not of the
  /// declared size.
  Result<std::span<const uint8_t>> Contents(const std::string& name, uint64_t limit,
                                            std::vector<uint8_t>* buffer) const;

 private:
  std::string file_;
  std::map<std::string_view, ZipEntry> entries_;
};

}  // namespace bifrons
