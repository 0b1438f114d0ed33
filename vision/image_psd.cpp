// PSD: the merged picture that Photoshop keeps beside the layers, in its modes of 8 bits as Pillow has them,
// and the high bytes of 16. A bitmap of 1 bit is refused: Pillow shows its negative. So are Lab colours,
// which need colour management.  [PIL/PsdImagePlugin.py]
#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "vision/byte_order.h"
#include "vision/image_decoders.h"

namespace bifrons {
namespace {

using Bytes = std::span<const uint8_t>;

enum Mode : uint32_t {
  kBitmap = 0,
  kGrey = 1,
  kIndexed = 2,
  kRgb = 3,
  kCmyk = 4,
  kMany = 7,
  kDuotone = 8,
  kLab = 9
};

struct Header {
  uint32_t mode = 0;
  size_t channels = 0;  // that are stored
  size_t used = 0;      // of them
  int64_t width = 0, height = 0;
  size_t sample_bytes = 1;
};

constexpr size_t kHeaderBytes = 26;

// A section: its length in 4 bytes, then its contents; nullopt where the file ends before.
std::optional<Bytes> Section(Bytes& rest) {
  if (rest.size() < 4) return std::nullopt;
  const size_t size = Big32(rest.data());
  if (size > rest.size() - 4) return std::nullopt;
  const Bytes contents = rest.subspan(4, size);
  rest = rest.subspan(4 + size);
  return contents;
}

Result<Header> ReadHeader(Bytes bytes, const std::string& name, const ImageOptions& options) {
  const auto unread = [&](const std::string& what) {
    return DataError(name + ": a PSD file " + what + ", which is not read; save it as PNG");
  };
  if (bytes.size() < kHeaderBytes) return DataError(name + ": the PSD file is truncated; get it again");
  if (Big16(&bytes[4]) == 2) return unread("for large documents (PSB)");
  Header header;
  header.channels = Big16(&bytes[12]);
  header.height = static_cast<int64_t>(Big32(&bytes[14]));
  header.width = static_cast<int64_t>(Big32(&bytes[18]));
  header.mode = Big16(&bytes[24]);
  const uint32_t bits = Big16(&bytes[22]);
  BIFRONS_RETURN_IF_ERROR(CheckImageSize(header.width, header.height, name, options));
  switch (header.mode) {
    case kGrey:
    case kIndexed:
    case kMany:
    case kDuotone:
      header.used = 1;
      break;
    case kRgb:
      header.used = header.channels == 4 ? 4 : 3;  // five and more: selections, not transparency
      break;
    case kCmyk:
      header.used = 4;
      break;
    case kLab:
      return unread("of Lab colours");
    case kBitmap:
      return unread("of 1 bit per pixel");
    default:
      return unread("of mode " + std::to_string(header.mode));
  }
  if ((bits != 8 && bits != 16) || (bits == 16 && header.mode == kIndexed)) {
    return unread("of " + std::to_string(bits) + " bits per channel");
  }
  header.sample_bytes = bits / 8;
  if (header.channels < header.used || header.channels > 56) {
    return DataError(name + ": a damaged PSD file: " + std::to_string(header.channels) + " channels");
  }
  return header;
}

// PackBits: a count and as many bytes, or a negative one and a byte to repeat; -128 is nothing. What goes
// beyond the row is dropped, as Pillow does.
bool UnpackRow(Bytes packed, std::vector<uint8_t>* row) {
  size_t used = 0;
  while (used < row->size() && !packed.empty()) {
    const size_t code = packed[0];
    packed = packed.subspan(1);
    if (code == 128) continue;
    const size_t count = code < 128 ? code + 1 : 257 - code, size = code < 128 ? count : 1;
    if (packed.size() < size) return false;
    for (size_t i = 0; i < count && used < row->size(); i++) (*row)[used++] = packed[code < 128 ? i : 0];
    packed = packed.subspan(size);
  }
  return used == row->size();
}

// The channels one after the other, row by row.
class Rows {
 public:
  Rows(const Header& header, Bytes data, bool packed)
      : packed_(packed), row_(static_cast<size_t>(header.width) * header.sample_bytes) {
    const size_t rows = header.channels * static_cast<size_t>(header.height);
    if (packed && data.size() / 2 < rows) {
      complete_ = false;  // without the sizes of its rows
      return;
    }
    sizes_ = packed ? data.first(2 * rows) : Bytes();
    data_ = packed ? data.subspan(2 * rows) : data;
    complete_ = packed || data.size() / row_.size() >= header.used * static_cast<size_t>(header.height);
  }

  bool complete() const { return complete_; }

  /// The next one; null where the file ends, or its runs do not fill the row.
  const uint8_t* Next() {
    const size_t size = packed_ ? Big16(sizes_.data()) : row_.size();
    if (size > data_.size()) return nullptr;
    const Bytes stored = data_.first(size);
    data_ = data_.subspan(size);
    if (!packed_) return stored.data();
    sizes_ = sizes_.subspan(2);
    return UnpackRow(stored, &row_) ? row_.data() : nullptr;
  }

 private:
  bool packed_, complete_ = true;
  std::vector<uint8_t> row_;
  Bytes sizes_, data_;
};

// Ink c with key k, both stored inverted, rounded as Pillow does.  [libImaging/Convert.c: cmyk2rgb]
uint8_t Inked(uint8_t c, uint8_t key) {
  const uint32_t product = (255u - c) * key + 128;
  return static_cast<uint8_t>(key - ((product + (product >> 8)) >> 8));
}

}  // namespace

Result<Image> DecodePsd(Bytes bytes, const std::string& name, const ImageOptions& options) {
  const auto truncated = [&] { return DataError(name + ": the PSD file is truncated; get it again"); };
  BIFRONS_TRY(const Header header, ReadHeader(bytes, name, options));
  Bytes rest = bytes.subspan(kHeaderBytes);
  const auto palette = Section(rest);
  if (!palette || !Section(rest) || !Section(rest) || rest.size() < 2) return truncated();
  if (header.mode == kIndexed && palette->size() != 768) {
    return DataError(name + ": a damaged PSD file: its palette");
  }
  const uint32_t compression = Big16(rest.data());
  if (compression > 1) {
    return DataError(name + ": a PSD file of compression " + std::to_string(compression) +
                     ", which is not read; save it as PNG");
  }
  Rows rows(header, rest.subspan(2), compression == 1);
  if (!rows.complete()) return truncated();

  BIFRONS_TRY(Image image, NewImage(header.width, header.height, name));
  const size_t width = static_cast<size_t>(header.width);
  for (size_t channel = 0; channel < header.used; channel++) {
    for (int64_t y = 0; y < header.height; y++) {
      const uint8_t* row = rows.Next();
      if (row == nullptr) return truncated();
      uint8_t* out = image.rgb.data() + static_cast<size_t>(y) * width * 3;
      for (size_t x = 0; x < width; x++, out += 3) {
        const uint8_t sample = row[x * header.sample_bytes];
        if (header.mode == kIndexed) {
          for (size_t c = 0; c < 3; c++) out[c] = (*palette)[256 * c + sample];
        } else if (header.used == 1) {
          out[0] = out[1] = out[2] = sample;
        } else if (channel < 3) {
          out[channel] = sample;
        } else if (header.mode == kCmyk) {
          for (size_t c = 0; c < 3; c++) out[c] = Inked(out[c], sample);
        } else {
          PutPixel(out[0], out[1], out[2], sample, options.alpha, out);
        }
      }
    }
  }
  return image;
}

}  // namespace bifrons
