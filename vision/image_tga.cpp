// TGA: true-colour, grey and colour-mapped pictures, run-length encoded or not, from all four corners. Where
// Pillow reads a file, these are its pixels; where it does not and the format says clearly what is meant (15
// bits, runs across rows, a colour map beside pixels that need none), the format is followed.
// [PIL/TgaImagePlugin.py; Truevision TGA 2.0]
#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "vision/byte_order.h"
#include "vision/image_decoders.h"

namespace bifrons {
namespace {

using Bytes = std::span<const uint8_t>;

enum class Kind { kMapped = 1, kColour = 2, kGrey = 3 };

struct Header {
  Kind kind = Kind::kColour;
  bool runs = false;
  size_t first = 0, count = 0, map_bytes = 0;  // of the colour map
  bool map_has_alpha = false;
  int64_t width = 0, height = 0;
  int bits = 0;  // per pixel
  bool from_right = false, from_top = false;
  size_t map_at = 0, pixels_at = 0;
};

constexpr size_t kHeaderBytes = 18;

size_t BytesOf(int bits) { return (static_cast<size_t>(bits) + 7) / 8; }

// The fields, if they can be a picture's.
bool ParseHeader(Bytes bytes, Header* header) {
  if (bytes.size() < kHeaderBytes) return false;
  const int map_type = bytes[1], type = bytes[2], map_bits = bytes[7], flags = bytes[17];
  const bool known = type == 1 || type == 2 || type == 3 || type == 9 || type == 10 || type == 11;
  // Bits 6 and 7 of the flags: rows that are interleaved, which nobody writes.
  if (map_type > 1 || !known || (flags & 0xC0) != 0 || (flags & 15) > 8) return false;
  if (map_type == 1 && map_bits != 15 && map_bits != 16 && map_bits != 24 && map_bits != 32) return false;
  header->kind = static_cast<Kind>(type & 7);
  header->runs = (type & 8) != 0;
  header->first = Little16(&bytes[3]);
  header->count = map_type == 1 ? Little16(&bytes[5]) : 0;
  header->map_bytes = BytesOf(map_bits);
  header->map_has_alpha = map_bits == 16 || map_bits == 32;
  header->width = Little16(&bytes[12]), header->height = Little16(&bytes[14]);
  header->bits = bytes[16];
  header->from_right = (flags & 16) != 0, header->from_top = (flags & 32) != 0;
  header->map_at = kHeaderBytes + bytes[0];
  header->pixels_at = header->map_at + header->count * header->map_bytes;
  const int bits = header->bits;
  if (header->width == 0 || header->height == 0) return false;
  switch (header->kind) {
    case Kind::kMapped:
      return header->count > 0 && bits == 8;
    case Kind::kColour:
      return bits == 15 || bits == 16 || bits == 24 || bits == 32;
    case Kind::kGrey:
      return bits == 8 || bits == 16 || (bits == 1 && !header->runs);
  }
  return false;
}

size_t RowBytes(const Header& header) {
  return (static_cast<size_t>(header.width) * (header.bits == 15 ? 16 : static_cast<size_t>(header.bits)) +
          7) /
         8;
}

// Whether the file has as many bytes as its pixels take at least: a packet holds up to 128.
bool HoldsItsPixels(Bytes bytes, const Header& header) {
  const size_t pixels = static_cast<size_t>(header.width * header.height);
  const size_t least = header.runs ? (pixels + 127) / 128 * (1 + BytesOf(header.bits))
                                   : RowBytes(header) * static_cast<size_t>(header.height);
  return header.pixels_at <= bytes.size() && bytes.size() - header.pixels_at >= least;
}

struct Colour {
  uint8_t r = 0, g = 0, b = 0, alpha = 255;
};

// Blue, green, red and alpha, or all in 16 bits; Pillow takes their highest one to mean "transparent".
Colour ToColour(const uint8_t* p, size_t size, bool has_alpha) {
  if (size == 2) {
    const uint32_t pixel = Little16(p);
    const auto scale = [](uint32_t five) { return static_cast<uint8_t>((five & 31) * 255 / 31); };
    const bool transparent = has_alpha && (pixel & 0x8000) != 0;
    return {scale(pixel >> 10), scale(pixel >> 5), scale(pixel), static_cast<uint8_t>(transparent ? 0 : 255)};
  }
  return {p[2], p[1], p[0], has_alpha ? p[3] : uint8_t{255}};
}

// What lies beyond the map is black.
std::array<Colour, 256> ReadMap(Bytes bytes, const Header& header) {
  std::array<Colour, 256> map;
  // Pillow fills up to the first colour with zeros, in the map's own form.
  const uint8_t zeros[4] = {};
  for (size_t i = 0; i < std::min(header.first, map.size()); i++) {
    map[i] = ToColour(zeros, header.map_bytes, header.map_has_alpha);
  }
  for (size_t i = 0; i < header.count && header.first + i < map.size(); i++) {
    map[header.first + i] =
        ToColour(&bytes[header.map_at + i * header.map_bytes], header.map_bytes, header.map_has_alpha);
  }
  return map;
}

// Whether the extension area says that the alpha channel means nothing.
bool AlphaIsDenied(Bytes bytes) {
  constexpr std::string_view kMark("TRUEVISION-XFILE.\0", 18);
  constexpr size_t kFooter = 26, kAttributesType = 494;
  if (bytes.size() < kFooter || !std::equal(kMark.begin(), kMark.end(), bytes.end() - kMark.size()))
    return false;
  const size_t extension = Little32(&bytes[bytes.size() - kFooter]);
  return extension != 0 && extension + kAttributesType < bytes.size() &&
         bytes[extension + kAttributesType] == 0;
}

// The rows in the file's order; packets may cross them.
class Rows {
 public:
  Rows(Bytes pixels, const Header& header)
      : rest_(pixels), size_(BytesOf(header.bits)), runs_(header.runs), row_(RowBytes(header)) {}

  /// The next one; null at the file's end.
  const uint8_t* Next() {
    if (!runs_) {
      const uint8_t* row = rest_.data();
      if (rest_.size() < row_.size()) return nullptr;
      rest_ = rest_.subspan(row_.size());
      return row;
    }
    for (size_t used = 0; used < row_.size();) {
      if (left_ == 0) {
        if (rest_.size() < 1 + size_) return nullptr;
        repeated_ = (rest_[0] & 128) != 0;
        left_ = (rest_[0] & 127) + size_t{1};
        rest_ = rest_.subspan(1);
      }
      if (rest_.size() < size_) return nullptr;
      std::copy_n(rest_.data(), size_, &row_[used]);
      used += size_;
      left_--;
      if (!repeated_ || left_ == 0) rest_ = rest_.subspan(size_);
    }
    return row_.data();
  }

 private:
  Bytes rest_;
  size_t size_;  // of a pixel
  bool runs_;
  std::vector<uint8_t> row_;
  size_t left_ = 0;  // pixels of the packet
  bool repeated_ = false;
};

}  // namespace

bool LooksLikeTga(Bytes bytes) {
  Header header;
  return ParseHeader(bytes, &header);
}

Result<Image> DecodeTga(Bytes bytes, const std::string& name, const ImageOptions& options) {
  Header header;
  if (!ParseHeader(bytes, &header)) return DataError(name + ": a damaged TGA file");
  const auto truncated = [&] {
    return DataError(name +
                     ": not a picture that is read here, or a TGA file that is truncated; get it again");
  };
  if (!HoldsItsPixels(bytes, header)) return truncated();
  BIFRONS_RETURN_IF_ERROR(CheckImageSize(header.width, header.height, name, options));
  const bool mapped = header.kind == Kind::kMapped, colour = header.kind == Kind::kColour;
  const auto map = mapped ? ReadMap(bytes, header) : std::array<Colour, 256>{};
  const bool has_alpha = (header.bits == 16 || header.bits == 32) && !(colour && AlphaIsDenied(bytes));
  const size_t size = BytesOf(header.bits);
  const auto pixel = [&](const uint8_t* row, size_t x) -> Colour {
    const uint8_t* p = row + x * size;
    if (mapped) return map[*p];
    if (colour) return ToColour(p, size, has_alpha);
    const uint8_t grey = header.bits > 1 ? *p : static_cast<uint8_t>((row[x / 8] >> (7 - x % 8) & 1) * 255);
    return {grey, grey, grey, size == 2 ? p[1] : uint8_t{255}};
  };

  BIFRONS_TRY(Image image, NewImage(header.width, header.height, name));
  const size_t width = static_cast<size_t>(header.width), height = static_cast<size_t>(header.height);
  Rows rows(bytes.subspan(header.pixels_at), header);
  for (size_t i = 0; i < height; i++) {
    const uint8_t* row = rows.Next();
    if (row == nullptr) return truncated();
    uint8_t* out = image.rgb.data() + (header.from_top ? i : height - 1 - i) * width * 3;
    for (size_t x = 0; x < width; x++) {
      const Colour c = pixel(row, x);
      PutPixel(c.r, c.g, c.b, c.alpha, options.alpha, out + (header.from_right ? width - 1 - x : x) * 3);
    }
  }
  return image;
}

}  // namespace bifrons
