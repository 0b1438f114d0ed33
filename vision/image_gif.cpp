// The first frame of a GIF, and no more of it.
#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "vision/image_decoders.h"

namespace bifrons {
namespace {

// The file as a stream. Reading beyond its end gives zeros and is remembered.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : rest_(bytes) {}

  uint8_t Byte() {
    if (rest_.empty()) {
      ran_out_ = true;
      return 0;
    }
    const uint8_t byte = rest_.front();
    rest_ = rest_.subspan(1);
    return byte;
  }
  int Short() {
    const int low = Byte();
    return low | Byte() << 8;
  }
  std::span<const uint8_t> Bytes(size_t count) {
    if (count > rest_.size()) ran_out_ = true;
    const auto part = rest_.first(std::min(count, rest_.size()));
    rest_ = rest_.subspan(part.size());
    return part;
  }
  /// A sub-block: its length, then as many bytes; empty at the end of a sequence of them.
  std::span<const uint8_t> Block() { return Bytes(Byte()); }
  void SkipBlocks() {
    while (!Block().empty()) {
    }
  }
  bool ran_out() const { return ran_out_; }

 private:
  std::span<const uint8_t> rest_;
  bool ran_out_ = false;
};

struct Colour {
  uint8_t r, g, b, alpha;
};
using Palette = std::array<Colour, 256>;

// Without a palette an index is a shade of grey.
Palette Grey() {
  Palette palette;
  for (size_t i = 0; i < palette.size(); i++) {
    const auto grey = static_cast<uint8_t>(i);
    palette[i] = {grey, grey, grey, 255};
  }
  return palette;
}

// What lies beyond the palette's end is black; but a palette that says nothing new is as none, and then it
// goes on.  [PIL/GifImagePlugin.py: _is_palette_needed]
Palette ReadPalette(Reader& reader, int flags) {
  const auto bytes = reader.Bytes(size_t{3} << ((flags & 7) + 1));
  Palette palette = Grey();
  bool grey = true;
  for (size_t i = 0; 3 * i + 2 < bytes.size(); i++) {
    const Colour colour{bytes[3 * i], bytes[3 * i + 1], bytes[3 * i + 2], 255};
    grey = grey && colour.r == i && colour.g == i && colour.b == i;
    palette[i] = colour;
  }
  for (size_t i = bytes.size() / 3; !grey && i < palette.size(); i++) palette[i] = {0, 0, 0, 255};
  return palette;
}

// GIF89a, appendix F: variable-length codes, cut into sub-blocks. Appends `count` indices; false when the
// codes make no sense or end too early.
bool Unpack(Reader& reader, size_t count, std::vector<uint8_t>* indices) {
  constexpr int kMaxBits = 12, kEntries = 1 << kMaxBits;
  const int root_bits = reader.Byte();
  if (root_bits > 8) return false;
  const int clear = 1 << root_bits, end = clear + 1;
  std::array<uint16_t, kEntries> prefix{};
  std::array<uint8_t, kEntries> last{};
  std::array<uint8_t, kEntries + 1> string;  // of one code, back to front

  std::span<const uint8_t> block;
  uint32_t pending = 0;
  int pending_bits = 0, bits = root_bits + 1, next = clear + 2, previous = -1;
  uint8_t first = 0;  // of the previous code's string
  while (indices->size() < count) {
    while (pending_bits < bits) {
      if (block.empty()) block = reader.Block();
      if (block.empty()) return false;
      pending |= uint32_t{block.front()} << pending_bits;
      block = block.subspan(1);
      pending_bits += 8;
    }
    const int code = static_cast<int>(pending & ((1u << bits) - 1));
    pending >>= bits;
    pending_bits -= bits;
    if (code == clear) {
      bits = root_bits + 1;
      next = clear + 2;
      previous = -1;
      continue;
    }
    if (code == end) return false;
    if (previous < 0 ? code > clear : code > next) return false;

    size_t length = 0;
    int at = code;
    if (previous >= 0 && code == next) {  // the string that this very code defines
      string[length++] = first;
      at = previous;
    }
    while (at >= clear) {
      string[length++] = last[static_cast<size_t>(at)];
      at = prefix[static_cast<size_t>(at)];
    }
    first = string[length++] = static_cast<uint8_t>(at);
    if (previous >= 0 && next < kEntries) {
      prefix[static_cast<size_t>(next)] = static_cast<uint16_t>(previous);
      last[static_cast<size_t>(next)] = first;
      if (next == (1 << bits) - 1 && bits < kMaxBits) bits++;
      next++;
    }
    previous = code;
    while (length > 0 && indices->size() < count) indices->push_back(string[--length]);
  }
  return true;
}

// Which row of the picture the file's row `i` is: every 8th, the ones between, every 2nd, the rest.
std::vector<int64_t> RowOrder(int64_t height, bool interlaced) {
  std::vector<int64_t> rows;
  rows.reserve(static_cast<size_t>(height));
  if (!interlaced) {
    for (int64_t y = 0; y < height; y++) rows.push_back(y);
    return rows;
  }
  for (const auto& [start, step] : {std::pair{0, 8}, {4, 8}, {2, 4}, {1, 2}}) {
    for (int64_t y = start; y < height; y += step) rows.push_back(y);
  }
  return rows;
}

}  // namespace

Result<Image> DecodeGif(std::span<const uint8_t> bytes, const std::string& name,
                        const ImageOptions& options) {
  Reader reader(bytes.subspan(6));
  const auto broken = [&]() {
    return DataError(
        name + (reader.ran_out() ? ": the GIF file is truncated; get it again" : ": a damaged GIF file"));
  };
  int64_t width = reader.Short(), height = reader.Short();
  const int screen_flags = reader.Byte();
  reader.Short();  // background, shape of a pixel
  Palette palette = (screen_flags & 128) ? ReadPalette(reader, screen_flags) : Grey();

  std::optional<uint8_t> transparent;
  for (uint8_t kind = reader.Byte(); kind != ','; kind = reader.Byte()) {
    if (reader.ran_out()) return broken();
    if (kind == ';') return DataError(name + ": a GIF file without a picture");
    if (kind != '!') continue;
    const uint8_t label = reader.Byte();
    const auto block = reader.Block();
    if (label == 0xF9 && block.size() >= 4 && (block[0] & 1)) transparent = block[3];
    if (!block.empty()) reader.SkipBlocks();
  }
  const int64_t left = reader.Short(), top = reader.Short();
  const int64_t frame_width = reader.Short(), frame_height = reader.Short();
  const int flags = reader.Byte();
  if (flags & 128) palette = ReadPalette(reader, flags);
  // Pillow lets a frame that is larger than its screen have its way.
  width = std::max(width, left + frame_width);
  height = std::max(height, top + frame_height);
  BIFRONS_RETURN_IF_ERROR(CheckImageSize(width, height, name, options));
  if (reader.ran_out()) return broken();
  if (frame_width == 0 || frame_height == 0) return DataError(name + ": a GIF file with an empty picture");

  const size_t count = static_cast<size_t>(frame_width * frame_height);
  std::vector<uint8_t> indices;
  indices.reserve(count);
  if (!Unpack(reader, count, &indices)) return broken();
  if (transparent) palette[*transparent].alpha = 0;
  Palette shown = palette;
  for (Colour& c : shown) {
    uint8_t rgb[3];
    PutPixel(c.r, c.g, c.b, c.alpha, options.alpha, rgb);
    c = {rgb[0], rgb[1], rgb[2], 255};
  }
  BIFRONS_TRY(Image image, NewImage(width, height, name));
  const auto put = [&](int64_t x, int64_t y, uint8_t index) {
    uint8_t* out = image.rgb.data() + (y * width + x) * 3;
    out[0] = shown[index].r, out[1] = shown[index].g, out[2] = shown[index].b;
  };
  if (frame_width != width || frame_height != height) {
    for (int64_t y = 0; y < height; y++) {
      for (int64_t x = 0; x < width; x++) put(x, y, transparent.value_or(0));
    }
  }
  const std::vector<int64_t> rows = RowOrder(frame_height, (flags & 64) != 0);
  for (int64_t i = 0; i < frame_height; i++) {
    for (int64_t x = 0; x < frame_width; x++) {
      put(left + x, top + rows[static_cast<size_t>(i)], indices[static_cast<size_t>(i * frame_width + x)]);
    }
  }
  return image;
}

}  // namespace bifrons
