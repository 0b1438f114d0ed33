#include "vision/exif_comment.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "vision/exif.h"
#include "vision/ifd.h"

namespace bifrons {
namespace {

// EXIF 2.3, 4.6.3 and 4.6.5: tags, and the names of character sets that comments begin with.
constexpr uint32_t kExifDirectory = 0x8769, kUserComment = 0x9286;
constexpr std::string_view kUnicode{"UNICODE\0", 8}, kAscii{"ASCII\0\0\0", 8};

void Append(uint32_t value, int size, std::vector<uint8_t>* out) {
  for (int i = size - 1; i >= 0; i--) out->push_back(static_cast<uint8_t>(value >> (8 * i)));
}

void AppendEntry(uint32_t tag, Ifds::Type type, uint32_t count, uint32_t value, std::vector<uint8_t>* out) {
  Append(tag, 2, out), Append(type, 2, out), Append(count, 4, out), Append(value, 4, out);
}

bool AppendUtf16(const std::string& text, std::vector<uint8_t>* out) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (size_t i = 0; i < text.size();) {
    utf8proc_int32_t point;
    const auto used = utf8proc_iterate(bytes + i, static_cast<utf8proc_ssize_t>(text.size() - i), &point);
    if (used <= 0) return false;
    i += static_cast<size_t>(used);
    const auto c = static_cast<uint32_t>(point);
    if (c >= 0x10000) Append(0xD800 + ((c - 0x10000) >> 10), 2, out);
    Append(c >= 0x10000 ? 0xDC00 + ((c - 0x10000) & 0x3FF) : c, 2, out);
  }
  return true;
}

std::string FromUtf16(std::span<const uint8_t> bytes, bool big_endian) {
  const auto unit = [&](size_t i) -> uint32_t {
    const uint32_t first = bytes[2 * i], second = bytes[2 * i + 1];
    return big_endian ? first << 8 | second : second << 8 | first;
  };
  const size_t units = bytes.size() / 2;
  std::string text;
  for (size_t i = 0; i < units; i++) {
    uint32_t c = unit(i);
    if (c >= 0xD800 && c < 0xE000) {
      const uint32_t low = c < 0xDC00 && i + 1 < units ? unit(i + 1) : 0;
      const bool pair = low >= 0xDC00 && low < 0xE000;
      c = pair ? 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00) : 0xFFFD;
      if (pair) i++;
    }
    utf8proc_uint8_t utf8[4];
    const auto used = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), utf8);
    text.append(reinterpret_cast<const char*>(utf8), static_cast<size_t>(used));
  }
  return text;
}

}  // namespace

Result<std::vector<uint8_t>> MakeExifComment(const std::string& text) {
  std::vector<uint8_t> comment(kUnicode.begin(), kUnicode.end());
  if (!AppendUtf16(text, &comment)) return UsageError("the text for the picture's EXIF data is not UTF-8");
  // Offsets count from the byte order; a directory is a count, entries of 12 bytes, and the next one's
  // offset.
  constexpr uint32_t kHeader = 8, kDirectory = 2 + 12 + 4;
  constexpr std::string_view header{"Exif\0\0MM\0*", 10};
  std::vector<uint8_t> exif(header.begin(), header.end());
  Append(kHeader, 4, &exif);
  Append(1, 2, &exif);
  AppendEntry(kExifDirectory, Ifds::kLong, 1, kHeader + kDirectory, &exif);
  Append(0, 4, &exif);
  Append(1, 2, &exif);
  AppendEntry(kUserComment, Ifds::kUndefined, static_cast<uint32_t>(comment.size()), kHeader + 2 * kDirectory,
              &exif);
  Append(0, 4, &exif);
  exif.insert(exif.end(), comment.begin(), comment.end());
  return exif;
}

std::optional<std::string> ExifComment(std::span<const uint8_t> exif) {
  const auto ifds = Ifds::Open(WithoutMark(exif));
  if (!ifds) return std::nullopt;
  const auto link = ifds->Find(ifds->first_directory(), kExifDirectory);
  const auto directory = link ? ifds->Integer(*link) : std::nullopt;
  const auto entry = directory ? ifds->Find(*directory, kUserComment) : std::nullopt;
  if (!entry) return std::nullopt;
  const std::span<const uint8_t> data = ifds->Data(*entry);
  if (data.size() < kUnicode.size()) return std::nullopt;
  const std::span<const uint8_t> rest = data.subspan(kUnicode.size());
  const auto begins = [&](std::string_view set) { return std::equal(set.begin(), set.end(), data.begin()); };
  if (begins(kUnicode)) return FromUtf16(rest, ifds->big_endian());
  const bool ascii = std::all_of(rest.begin(), rest.end(), [](uint8_t c) { return c > 0 && c < 0x80; });
  if (begins(kAscii) && ascii) return std::string(rest.begin(), rest.end());
  return std::nullopt;
}

}  // namespace bifrons
