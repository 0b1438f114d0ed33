#include "vision/exif.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "vision/tiff.h"

namespace bifrons {
namespace {

using Bytes = std::span<const uint8_t>;

bool StartsWith(Bytes bytes, std::string_view prefix) {
  return bytes.size() >= prefix.size() && std::memcmp(bytes.data(), prefix.data(), prefix.size()) == 0;
}

// An unsigned integer of `size` bytes; the caller has checked that they are there.
uint32_t Read(const uint8_t* p, int size, bool big_endian) {
  uint32_t value = 0;
  for (int i = 0; i < size; i++) value = value << 8 | p[big_endian ? i : size - 1 - i];
  return value;
}

constexpr std::string_view kExifMark{"Exif\0\0", 6};

// JPEG: segments FF xx, length (which counts itself), payload, up to the first scan. The APP1 segments that
// are marked as EXIF are one block that was cut up.
std::vector<uint8_t> ExifOfJpeg(Bytes file) {
  std::vector<uint8_t> exif;
  for (size_t at = 2; at + 4 <= file.size();) {
    if (file[at] != 0xFF) {
      at++;  // junk between segments
      continue;
    }
    const uint8_t marker = file[at + 1];
    if (marker == 0xDA || marker == 0xD9) break;
    if (marker == 0xFF) {
      at++;  // padding
      continue;
    }
    if (marker <= 0x01 || (marker >= 0xD0 && marker <= 0xD8)) {
      at += 2;  // without a payload
      continue;
    }
    const size_t length = Read(&file[at + 2], 2, true);
    if (length < 2 || length > file.size() - at - 2) break;
    const Bytes payload = file.subspan(at + 4, length - 2);
    if (marker == 0xE1 && StartsWith(payload, kExifMark)) {
      exif.insert(exif.end(), payload.begin() + (exif.empty() ? 0 : kExifMark.size()), payload.end());
    }
    at += 2 + length;
  }
  return exif;
}

// PNG: chunks of length, type, payload, checksum.
Bytes ExifOfPng(Bytes file) {
  for (size_t at = 8; file.size() - at >= 12;) {
    const size_t length = Read(&file[at], 4, true);
    if (length > file.size() - at - 12) break;
    if (StartsWith(file.subspan(at + 4), "eXIf")) return file.subspan(at + 8, length);
    at += 12 + length;
  }
  return {};
}

// WebP: a RIFF file of four-letter name, length, payload, padding to an even length.
Bytes ExifOfWebp(Bytes file) {
  for (size_t at = 12; at < file.size() && file.size() - at >= 8;) {
    const size_t length = Read(&file[at + 4], 4, false);
    if (length > file.size() - at - 8) break;
    if (StartsWith(file.subspan(at), "EXIF")) return file.subspan(at + 8, length);
    at += 8 + length + length % 2;
  }
  return {};
}

}  // namespace

std::span<const uint8_t> WithoutMark(std::span<const uint8_t> exif) {
  while (StartsWith(exif, kExifMark)) exif = exif.subspan(kExifMark.size());
  return exif;
}

int OrientationOf(Bytes exif) {
  constexpr uint32_t kOrientation = 0x0112;
  const auto tiff = Tiff::Open(WithoutMark(exif));
  const auto entry = tiff ? tiff->Find(tiff->first_directory(), kOrientation) : std::nullopt;
  const uint32_t value = entry ? tiff->Integer(*entry).value_or(1) : 1;
  return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
}

std::vector<uint8_t> ExifData(Bytes file) {
  const auto copy = [](Bytes bytes) { return std::vector<uint8_t>(bytes.begin(), bytes.end()); };
  if (StartsWith(file, "\xFF\xD8\xFF")) return ExifOfJpeg(file);
  if (StartsWith(file, "\x89PNG\r\n\x1a\n")) return copy(ExifOfPng(file));
  if (StartsWith(file, "RIFF") && file.size() >= 12) return copy(ExifOfWebp(file));
  return {};
}

int ExifOrientation(Bytes file) { return OrientationOf(ExifData(file)); }

// EXIF 2.3, 4.6.4: the orientation says on which side of the scene row 0 and column 0 lie.
//   1 top, left    2 top, right    3 bottom, right   4 bottom, left
//   5 left, top    6 right, top    7 right, bottom   8 left, bottom
void ApplyOrientation(int orientation, Image* image) {
  if (orientation <= 1 || orientation > 8) return;
  const bool swapped = orientation >= 5;
  // Whether the scene's right (bottom) edge is where the file's rows or columns start.
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
  const int64_t width = swapped ? image->height : image->width;
  const int64_t height = swapped ? image->width : image->height;
  std::vector<uint8_t> turned(image->rgb.size());
  // The source is at base + x · across + y · down.
  const int64_t column = 3, row = image->width * 3;
  const int64_t across = (swapped ? row : column) * (from_right ? -1 : 1);
  const int64_t down = (swapped ? column : row) * (from_bottom ? -1 : 1);
  const int64_t base = (from_right ? -across * (width - 1) : 0) + (from_bottom ? -down * (height - 1) : 0);
  // In tiles, because one of the two pictures is walked against its rows.
  constexpr int64_t kTile = 32;
  for (int64_t top = 0; top < height; top += kTile) {
    for (int64_t left = 0; left < width; left += kTile) {
      for (int64_t y = top; y < std::min(top + kTile, height); y++) {
        for (int64_t x = left; x < std::min(left + kTile, width); x++) {
          std::memcpy(&turned[static_cast<size_t>((y * width + x) * 3)],
                      &image->rgb[static_cast<size_t>(base + x * across + y * down)], 3);
        }
      }
    }
  }
  *image = {width, height, std::move(turned)};
}

}  // namespace bifrons
