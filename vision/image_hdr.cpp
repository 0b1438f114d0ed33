// Radiance's RGBE: three mantissas that share an exponent. Shown as stb_image shows it, which is what most
// programs build on: with a gamma of 2.2, cut off at 1.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <optional>
#include <string_view>
#include <vector>

#include "vision/image_decoders.h"

namespace bifrons {
namespace {

using Bytes = std::span<const uint8_t>;

// Up to the line's end, which is cut as well; nullopt where none comes soon.
std::optional<std::string> Line(Bytes& rest) {
  constexpr size_t kLongest = 1024;
  const auto window = rest.first(std::min(rest.size(), kLongest));
  const auto end = std::ranges::find(window, '\n');
  if (end == window.end()) return std::nullopt;
  std::string line(window.begin(), end);
  rest = rest.subspan(line.size() + 1);
  return line;
}

using Pixel = std::array<uint8_t, 4>;  // red, green, blue, exponent

// The components one after the other, each in runs and literals.
bool ReadNewRow(Bytes& rest, std::vector<Pixel>* row) {
  for (size_t c = 0; c < 4; c++) {
    for (size_t x = 0; x < row->size();) {
      if (rest.size() < 2) return false;
      const bool run = rest[0] > 128;
      const size_t count = run ? rest[0] - 128u : rest[0];
      if (count == 0 || count > row->size() - x || rest.size() < 1 + (run ? 1 : count)) return false;
      for (size_t i = 0; i < count; i++) (*row)[x++][c] = rest[run ? 1 : 1 + i];
      rest = rest.subspan(1 + (run ? 1 : count));
    }
  }
  return true;
}

// Pixel by pixel; mantissas of 1 repeat the last one, as often as the exponent says, and each further such
// pixel counts 256 times as much.
bool ReadOldRow(Bytes& rest, std::vector<Pixel>* row) {
  unsigned shift = 0;
  for (size_t x = 0; x < row->size();) {
    if (rest.size() < 4) return false;
    const Pixel pixel{rest[0], rest[1], rest[2], rest[3]};
    rest = rest.subspan(4);
    if (pixel[0] != 1 || pixel[1] != 1 || pixel[2] != 1) {
      (*row)[x++] = pixel;
      shift = 0;
      continue;
    }
    const size_t count = shift < 32 ? size_t{pixel[3]} << shift : 0;
    if (x == 0 || count > row->size() - x || shift >= 32) return false;
    const Pixel last = (*row)[x - 1];
    std::fill_n(row->begin() + static_cast<ptrdiff_t>(x), count, last);
    x += count;
    shift += 8;
  }
  return true;
}

bool ReadRow(Bytes& rest, std::vector<Pixel>* row) {
  const size_t width = row->size();
  const bool is_new =
      width >= 8 && width < 32768 && rest.size() >= 4 && rest[0] == 2 && rest[1] == 2 && rest[2] < 128;
  if (!is_new) return ReadOldRow(rest, row);
  if ((size_t{rest[2]} << 8 | rest[3]) != width) return false;
  rest = rest.subspan(4);
  return ReadNewRow(rest, row);
}

// The bytes that the mantissas of one exponent are shown as.
class Shown {
 public:
  uint8_t Of(uint8_t mantissa, uint8_t exponent) {
    auto& table = tables_[exponent];
    if (table.empty()) {
      for (int m = 0; m < 256; m++) {
        const float value =
            exponent == 0 ? 0.0f : static_cast<float>(m) * std::ldexp(1.0f, exponent - (128 + 8));
        const float byte = std::pow(value, 1.0f / 2.2f) * 255 + 0.5f;
        table.push_back(static_cast<uint8_t>(std::clamp(byte, 0.0f, 255.0f)));
      }
    }
    return table[mantissa];
  }

 private:
  std::array<std::vector<uint8_t>, 256> tables_;
};

}  // namespace

Result<Image> DecodeHdr(Bytes bytes, const std::string& name, const ImageOptions& options) {
  const auto wrong = [&](const std::string& what) {
    return DataError(name + ": a damaged or unsupported HDR file: " + what);
  };
  Bytes rest = bytes;
  std::string format;
  for (;;) {
    const auto line = Line(rest);
    if (!line) return wrong("its header");
    if (line->empty()) break;
    constexpr std::string_view kFormat = "FORMAT=";
    if (line->starts_with(kFormat)) format = line->substr(kFormat.size());
  }
  if (format != "32-bit_rle_rgbe") return wrong("FORMAT is not 32-bit_rle_rgbe");
  const auto size = Line(rest);
  long width = 0, height = 0;
  if (!size || std::sscanf(size->c_str(), "-Y %9ld +X %9ld", &height, &width) != 2) {
    return wrong("its rows do not run from the top left");
  }
  BIFRONS_RETURN_IF_ERROR(CheckImageSize(width, height, name, options));
  BIFRONS_TRY(Image image, NewImageWithoutRows(width, height, name));
  std::vector<Pixel> row(static_cast<size_t>(width));
  Shown shown;
  for (long y = 0; y < height; y++) {
    if (!ReadRow(rest, &row)) {
      return rest.size() < 4 ? DataError(name + ": the HDR file is truncated; get it again")
                             : wrong("its run lengths");
    }
    uint8_t* out = AddRow(&image);
    for (const Pixel& p : row) {
      for (size_t c = 0; c < 3; c++) *out++ = shown.Of(p[c], p[3]);
    }
  }
  return image;
}

}  // namespace bifrons
