// BMP, and DIB, which is the same without the file's own header: Windows' headers from BITMAPINFOHEADER to
// BITMAPV5HEADER, OS/2's of 12, 16 and 64 bytes; palettes, bit fields, RLE. Where Pillow reads a file, these
// are its pixels; where it does not and the format says clearly what is meant (2 bits, other bit fields, RLE
// that ends early, the 16-byte header), the format is followed. [PIL/BmpImagePlugin.py]
#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "vision/byte_order.h"
#include "vision/image_decoders.h"

namespace bifrons {
namespace {

using Bytes = std::span<const uint8_t>;

enum Compression : uint32_t { kRaw = 0, kRle8 = 1, kRle4 = 2, kBitFields = 3, kAlphaBitFields = 6 };

struct Header {
  int64_t width = 0, height = 0;
  bool top_down = false;
  int bits = 0;  // per pixel
  uint32_t compression = kRaw;
  uint32_t masks[4] = {};  // of red, green, blue and alpha
  size_t palette_at = 0, colours = 0, colour_bytes = 4;
  size_t pixels_at = 0;
  size_t stride = 0;  // of a row that is not compressed
};

constexpr size_t kFileHeader = 14;
constexpr size_t kCoreHeader = 12, kInfoHeader = 40;  // OS/2 1, Windows 3

bool IsOs2(size_t header_size) { return header_size == 16 || header_size == 64; }

bool IsHeaderSize(size_t size) {
  return size == kCoreHeader || size == kInfoHeader || size == 52 || size == 56 || size == 108 ||
         size == 124 || IsOs2(size);
}

Error Damaged(const std::string& name, const std::string& what) {
  return DataError(name + ": a damaged or unsupported BMP file: " + what);
}

Error Truncated(const std::string& name) {
  return DataError(name + ": the BMP file is truncated; get it again");
}

// How the bits of a pixel make its colours, for pixels that are no indices.
Status ReadMasks(Bytes bytes, size_t start, size_t header_size, const std::string& name, Header* header) {
  auto& masks = header->masks;
  if (header->compression == kRaw) {
    const std::array<uint32_t, 3> five{0x7C00, 0x3E0, 0x1F}, eight{0xFF0000, 0xFF00, 0xFF};
    std::ranges::copy(header->bits == 16 ? five : eight, masks);
    return {};  // the fourth byte of 32 bits means nothing
  }
  // They follow the shortest header, and are a part of the longer ones.
  const size_t count = header->compression == kAlphaBitFields || header_size >= 56 ? 4 : 3;
  if (bytes.size() < start + kInfoHeader + 4 * count) return Truncated(name);
  for (size_t i = 0; i < count; i++) masks[i] = Little32(&bytes[start + kInfoHeader + 4 * i]);
  // Pillow takes 32 bits without any mask to be BGRA, and sees no alpha in 16 bits where it knows the
  // colours.
  if (header->bits == 32 && std::ranges::all_of(masks, [](uint32_t mask) { return mask == 0; })) {
    std::ranges::copy(std::array<uint32_t, 4>{0xFF0000, 0xFF00, 0xFF, 0xFF000000}, masks);
  }
  const bool is_555 = masks[0] == 0x7C00 && masks[1] == 0x3E0 && masks[2] == 0x1F;
  const bool is_565 = masks[0] == 0xF800 && masks[1] == 0x7E0 && masks[2] == 0x1F;
  if (header->bits == 16 && (is_555 || is_565)) masks[3] = 0;
  const uint64_t pixel = uint64_t{1} << header->bits;
  for (const uint32_t mask : masks) {
    const bool one_run = mask == 0 || std::has_single_bit((uint64_t{mask} >> std::countr_zero(mask)) + 1);
    if (!one_run || mask >= pixel) return Damaged(name, "its bit fields are not whole");
  }
  if ((masks[0] | masks[1] | masks[2]) == 0) return Damaged(name, "its bit fields are empty");
  return {};
}

Result<Header> ReadHeader(Bytes bytes, const std::string& name, const ImageOptions& options) {
  const size_t start = bytes[0] == 'B' ? kFileHeader : 0;
  const size_t size = Little32(&bytes[start]);  // recognised by it, so it is there
  if (!IsHeaderSize(size)) return Damaged(name, "a header of " + std::to_string(size) + " bytes");
  if (bytes.size() < start + size) return Truncated(name);
  const uint8_t* fields = &bytes[start];
  Header header;
  if (size == kCoreHeader) {
    header.width = Little16(fields + 4), header.height = Little16(fields + 6);
    header.bits = static_cast<int>(Little16(fields + 10));
    header.colour_bytes = 3;
  } else {
    header.width = static_cast<int32_t>(Little32(fields + 4));
    header.height = static_cast<int32_t>(Little32(fields + 8));
    header.top_down = header.height < 0;
    if (header.top_down) header.height = -header.height;
    header.bits = static_cast<int>(Little16(fields + 14));
    if (size >= kInfoHeader) {
      header.compression = Little32(fields + 16);
      header.colours = Little32(fields + 32);
    }
  }
  BIFRONS_RETURN_IF_ERROR(CheckImageSize(header.width, header.height, name, options));

  const int bits = header.bits;
  if (bits != 1 && bits != 2 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32) {
    return Damaged(name, std::to_string(bits) + " bits per pixel");
  }
  const uint32_t compression = header.compression;
  const bool fields_of_bits = compression == kBitFields || compression == kAlphaBitFields;
  if ((compression > kBitFields && compression != kAlphaBitFields) || (fields_of_bits && IsOs2(size))) {
    return Damaged(name, "compression " + std::to_string(compression));
  }
  if ((compression == kRle8 && bits != 8) || (compression == kRle4 && bits != 4) ||
      (fields_of_bits && bits < 16)) {
    return Damaged(name, "compression " + std::to_string(compression) + " of " + std::to_string(bits) +
                             " bits per pixel");
  }
  header.palette_at = start + size;
  header.pixels_at = start > 0 ? Little32(&bytes[10]) : 0;
  if (bits <= 8) {
    if (header.colours == 0) header.colours = size_t{1} << bits;
    if (header.colours > 65536) return Damaged(name, std::to_string(header.colours) + " colours");
    // Some writers forget the palette when they say where the pixels are.
    if (header.pixels_at == header.palette_at || header.pixels_at == 0) {
      header.pixels_at = header.palette_at + header.colours * header.colour_bytes;
    }
  } else {
    BIFRONS_RETURN_IF_ERROR(ReadMasks(bytes, start, size, name, &header));
    const bool apart = fields_of_bits && size == kInfoHeader;
    if (header.pixels_at == 0) {
      header.pixels_at = header.palette_at + (!apart ? 0 : compression == kAlphaBitFields ? 16 : 12);
    }
  }
  header.stride = (static_cast<size_t>(header.width) * static_cast<size_t>(bits) + 31) / 32 * 4;
  return header;
}

struct Colour {
  uint8_t r = 0, g = 0, b = 0;
};
using Palette = std::array<Colour, 256>;

// What lies beyond the palette's end is black; but a palette that says nothing new is as none to Pillow, and
// then it goes on.
Palette ReadPalette(Bytes bytes, const Header& header) {
  Palette palette;
  const size_t room = bytes.size() - header.palette_at;
  const size_t count = std::min({header.colours, room / header.colour_bytes, palette.size()});
  bool grey = header.bits == 8 && count == header.colours && count != 2;
  for (size_t i = 0; i < count; i++) {
    const uint8_t* p = &bytes[header.palette_at + i * header.colour_bytes];
    palette[i] = {p[2], p[1], p[0]};
    grey = grey && p[0] == i && p[1] == i && p[2] == i;
  }
  for (size_t i = count; grey && i < palette.size(); i++) {
    palette[i] = {static_cast<uint8_t>(i), static_cast<uint8_t>(i), static_cast<uint8_t>(i)};
  }
  return palette;
}

void PutColour(const Colour& colour, uint8_t* out) {
  out[0] = colour.r, out[1] = colour.g, out[2] = colour.b;
}

// A row of 1, 2, 4 or 8 bits per pixel, the first one in the highest bits.
void PutIndices(const uint8_t* row, const Header& header, const Palette& palette, uint8_t* out) {
  const unsigned bits = static_cast<unsigned>(header.bits), largest = (1u << bits) - 1;
  for (size_t x = 0; x < static_cast<size_t>(header.width); x++) {
    const size_t at = x * bits;
    PutColour(palette[row[at / 8] >> (8 - bits - at % 8) & largest], out + 3 * x);
  }
}

// The samples of one mask as bytes. Rounded down, as Pillow does with those that it knows.
class Channel {
 public:
  Channel(uint32_t mask, uint8_t without) : mask_(mask), shift_(mask ? std::countr_zero(mask) : 0) {
    largest_ = mask >> shift_;
    if (mask == 0) scaled_.fill(without);
    for (uint32_t v = 0; largest_ > 0 && v <= std::min(largest_, 255u); v++) scaled_[v] = Scale(v);
  }
  uint8_t Of(uint32_t pixel) const {
    const uint32_t value = (pixel & mask_) >> shift_;
    return largest_ <= 255 ? scaled_[value] : Scale(value);
  }

 private:
  uint8_t Scale(uint32_t value) const { return static_cast<uint8_t>(uint64_t{value} * 255 / largest_); }

  uint32_t mask_, largest_;
  int shift_;
  std::array<uint8_t, 256> scaled_{};
};

Result<Image> DecodeRows(Bytes bytes, const Header& header, const std::string& name, AlphaMode mode) {
  const size_t width = static_cast<size_t>(header.width), height = static_cast<size_t>(header.height);
  const size_t row_bytes = (width * static_cast<size_t>(header.bits) + 7) / 8;
  // The padding of the last row may be missing.
  if (header.pixels_at > bytes.size() ||
      (height - 1) * header.stride + row_bytes > bytes.size() - header.pixels_at) {
    return Truncated(name);
  }
  const Palette palette = header.bits <= 8 ? ReadPalette(bytes, header) : Palette{};
  const Channel red(header.masks[0], 0), green(header.masks[1], 0), blue(header.masks[2], 0),
      alpha(header.masks[3], 255);
  BIFRONS_TRY(Image image, NewImageWithoutRows(header.width, header.height, name));
  for (size_t y = 0; y < height; y++) {
    const uint8_t* row =
        bytes.data() + header.pixels_at + (header.top_down ? y : height - 1 - y) * header.stride;
    uint8_t* out = AddRow(&image);
    if (header.bits <= 8) {
      PutIndices(row, header, palette, out);
      continue;
    }
    const size_t size = static_cast<size_t>(header.bits) / 8;
    for (size_t x = 0; x < width; x++, row += size, out += 3) {
      uint32_t pixel = Little16(row);
      if (size > 2) pixel |= uint32_t{row[2]} << 16;
      if (size > 3) pixel |= uint32_t{row[3]} << 24;
      PutPixel(red.Of(pixel), green.Of(pixel), blue.Of(pixel), alpha.Of(pixel), mode, out);
    }
  }
  return image;
}

// RLE8 and RLE4, to one index per pixel in the file's order of rows: false where the file ends too early.
// Like Pillow, a run that is too long for its row loses the rest, while pixels one by one and deltas go on
// into the next. An end of line in an empty row skips it; so that may end early: what is left has index 0.
bool UnpackRuns(Bytes bytes, const Header& header, std::vector<uint8_t>* indices) {
  const size_t width = static_cast<size_t>(header.width);
  const size_t total = width * static_cast<size_t>(header.height);
  const bool nibbles = header.compression == kRle4;
  size_t at = std::min(header.pixels_at, bytes.size());
  const auto pad = [&](size_t count) { indices->resize(std::min(total, indices->size() + count)); };
  const auto nibble = [](uint8_t byte, size_t i) {
    return static_cast<uint8_t>(i % 2 == 0 ? byte >> 4 : byte & 15);
  };
  size_t x = 0;
  while (indices->size() < total) {
    if (bytes.size() - at < 2) return false;
    const size_t count = bytes[at];
    const uint8_t value = bytes[at + 1];
    at += 2;
    if (count > 0) {
      const size_t room = std::min(x < width ? width - x : 0, total - indices->size());
      for (size_t i = 0; i < std::min(count, room); i++) {
        indices->push_back(nibbles ? nibble(value, i) : value);
      }
      x += std::min(count, room);
    } else if (value == 0) {
      const size_t used = indices->size() % width;
      if (used > 0 || x == 0) pad(width - used);
      x = 0;
    } else if (value == 1) {
      pad(total);
    } else if (value == 2) {
      if (bytes.size() - at < 2) return false;
      pad(bytes[at] + bytes[at + 1] * width);
      x = indices->size() % width;
      at += 2;
    } else {
      const size_t wanted = std::min<size_t>(value, total - indices->size());
      const size_t size = nibbles ? (wanted + 1) / 2 : wanted;
      if (bytes.size() - at < size) return false;
      for (size_t i = 0; i < wanted; i++) {
        indices->push_back(nibbles ? nibble(bytes[at + i / 2], i) : bytes[at + i]);
      }
      at += size;
      x += value;
      at = std::min(at + at % 2, bytes.size());  // a multiple of two from the file's start
    }
  }
  return true;
}

Result<Image> DecodeRuns(Bytes bytes, const Header& header, const std::string& name) {
  std::vector<uint8_t> indices;
  indices.reserve(static_cast<size_t>(header.width * header.height));
  if (!UnpackRuns(bytes, header, &indices)) return Truncated(name);
  const Palette palette = ReadPalette(bytes, header);
  BIFRONS_TRY(Image image, NewImageWithoutRows(header.width, header.height, name));
  for (int64_t y = 0; y < header.height; y++) {
    const uint8_t* row = indices.data() + (header.top_down ? y : header.height - 1 - y) * header.width;
    uint8_t* out = AddRow(&image);
    for (int64_t x = 0; x < header.width; x++) PutColour(palette[row[x]], out + 3 * x);
  }
  return image;
}

}  // namespace

bool LooksLikeDib(Bytes bytes) {
  if (bytes.size() < 16) return false;  // up to the bits
  const size_t size = Little32(bytes.data());
  const uint8_t* planes = bytes.data() + (size == kCoreHeader ? 8 : 12);
  const uint32_t bits = Little16(planes + 2);
  return IsHeaderSize(size) && Little16(planes) == 1 && bits >= 1 && bits <= 32;
}

Result<Image> DecodeBmp(Bytes bytes, const std::string& name, const ImageOptions& options) {
  BIFRONS_TRY(const Header header, ReadHeader(bytes, name, options));
  const bool runs = header.compression == kRle8 || header.compression == kRle4;
  return runs ? DecodeRuns(bytes, header, name) : DecodeRows(bytes, header, name, options.alpha);
}

}  // namespace bifrons
