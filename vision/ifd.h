// The image file directories (IFDs) that EXIF data consist of, in the form of TIFF files.  TIFF 6.0, section
// 2 TIFF pictures themselves are libtiff's (image_tiff.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace bifrons {

/// A view of TIFF data: byte order, 42, offset of the first directory. Every offset is checked before it is
/// followed, and who walks follows no chain, so nothing can loop.
class Ifds {
 public:
  enum Type : uint32_t { kByte = 1, kShort = 3, kLong = 4, kUndefined = 7 };

  /// 12 bytes of a directory.
  struct Entry {
    uint32_t type = 0, count = 0;
    size_t value = 0;  // where its four bytes of value or offset are
  };

  /// Nothing where the header is none.
  static std::optional<Ifds> Open(std::span<const uint8_t> bytes);

  size_t first_directory() const { return Read(4, 4); }
  bool big_endian() const { return big_endian_; }

  /// The last entry of that tag, as in a dictionary; nothing where the directory is not within the data.
  std::optional<Entry> Find(size_t directory, uint32_t tag) const;

  /// The value of an entry that is one unsigned integer.
  std::optional<uint32_t> Integer(const Entry& entry) const;

  /// The value of an entry of kByte or kUndefined, wherever it is; empty where it is not within the data.
  std::span<const uint8_t> Data(const Entry& entry) const;

 private:
  Ifds(std::span<const uint8_t> bytes, bool big_endian) : bytes_(bytes), big_endian_(big_endian) {}
  uint32_t Read(size_t at, int size) const;

  std::span<const uint8_t> bytes_;
  bool big_endian_;
};

}  // namespace bifrons
