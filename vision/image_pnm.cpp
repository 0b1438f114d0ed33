// PGM and PPM: the raw forms, P5 and P6. Our own reader: stb_image ignores the largest value, which scales
// every sample.
#include <cmath>
#include <optional>
#include <vector>

#include "vision/image_decoders.h"

namespace bifrons {
namespace {

// Decimal digits after white space and comments ('#' to the end of the line), and one white space after them.
std::optional<int64_t> Number(std::span<const uint8_t>& rest) {
  const auto cut = [&] { rest = rest.subspan(1); };
  const auto is_space = [](uint8_t c) { return c == ' ' || (c >= 9 && c <= 13); };
  while (!rest.empty() && (is_space(rest[0]) || rest[0] == '#')) {
    if (rest[0] == '#') {
      while (!rest.empty() && rest[0] != '\n' && rest[0] != '\r') cut();
    } else {
      cut();
    }
  }
  int64_t value = 0;
  int digits = 0;
  for (; !rest.empty() && rest[0] >= '0' && rest[0] <= '9'; cut()) {
    value = value * 10 + (rest[0] - '0');
    if (++digits > 10) return std::nullopt;
  }
  if (digits == 0 || rest.empty() || !is_space(rest[0])) return std::nullopt;
  cut();
  return value;
}

// A sample of 0…largest as a byte. Colours are rounded as Pillow's are; 16-bit grey keeps its high byte.
// [PIL/PpmImagePlugin.py: PpmDecoder]
uint8_t Scale(int64_t value, int64_t largest, bool grey) {
  const double part = static_cast<double>(value) / static_cast<double>(largest);
  if (grey && largest > 255)
    return static_cast<uint8_t>(static_cast<int>(std::fmin(65535, std::nearbyint(part * 65535))) >> 8);
  return static_cast<uint8_t>(std::fmin(255, std::nearbyint(part * 255)));
}

}  // namespace

Result<Image> DecodePnm(std::span<const uint8_t> bytes, const std::string& name,
                        const ImageOptions& options) {
  const bool grey = bytes[1] == '5';
  std::span<const uint8_t> rest = bytes.subspan(2);
  const auto width = Number(rest), height = Number(rest), largest = Number(rest);
  if (!width || !height || !largest || *largest < 1 || *largest > 65535) {
    return DataError(name + ": a PNM file with a damaged header");
  }
  BIFRONS_RETURN_IF_ERROR(CheckImageSize(*width, *height, name, options));
  const size_t samples = static_cast<size_t>(*width * *height * (grey ? 1 : 3));
  const size_t size = *largest > 255 ? 2 : 1;
  if (rest.size() / size < samples) return DataError(name + ": the PNM file is truncated; get it again");
  std::vector<uint8_t> scaled(size_t{1} << (8 * size));
  for (size_t v = 0; v < scaled.size(); v++) scaled[v] = Scale(static_cast<int64_t>(v), *largest, grey);
  BIFRONS_TRY(Image image, NewImage(*width, *height, name));
  for (size_t i = 0; i < samples; i++) {
    const uint8_t value =
        scaled[size == 1 ? rest[i] : static_cast<size_t>(rest[2 * i] << 8 | rest[2 * i + 1])];
    for (size_t c = 0; c < (grey ? 3u : 1u); c++) image.rgb[grey ? 3 * i + c : i] = value;
  }
  return image;
}

}  // namespace bifrons
