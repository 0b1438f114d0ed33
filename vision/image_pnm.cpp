// PBM, PGM and PPM, plain (P1 to P3) and raw (P4 to P6), with any largest value: it scales every sample.
// [PIL/PpmImagePlugin.py]
#include <cmath>
#include <optional>
#include <vector>

#include "vision/image_decoders.h"

namespace bifrons {
namespace {

using Bytes = std::span<const uint8_t>;

bool IsSpace(uint8_t c) { return c == ' ' || (c >= 9 && c <= 13); }

// The text part of a file, without its comments ('#' to the end of the line).
class Text {
 public:
  explicit Text(Bytes bytes) : rest_(bytes) {}

  /// The next character; nullopt at the end.
  std::optional<uint8_t> Next() {
    while (!rest_.empty() && rest_[0] == '#') {
      while (!rest_.empty() && rest_[0] != '\n' && rest_[0] != '\r') Cut();
      if (!rest_.empty()) Cut();
    }
    ran_out_ = rest_.empty();
    if (ran_out_) return std::nullopt;
    const uint8_t c = rest_[0];
    Cut();
    return c;
  }

  std::optional<uint8_t> NextBeyondSpace() {
    std::optional<uint8_t> c = Next();
    while (c && IsSpace(*c)) c = Next();
    return c;
  }

  /// Decimal digits, with what separates them from what follows: one white space, or the end. A comment may
  /// stand between two digits: the format has it so.
  std::optional<int64_t> Number() {
    int64_t value = 0;
    int digits = 0;
    std::optional<uint8_t> c = NextBeyondSpace();
    for (; c && !IsSpace(*c); c = Next()) {
      if (*c < '0' || *c > '9' || ++digits > 10) return std::nullopt;
      value = value * 10 + (*c - '0');
    }
    if (digits == 0) return std::nullopt;
    return value;
  }

  /// Whether the last look for a character found the end.
  bool ran_out() const { return ran_out_; }
  Bytes rest() const { return rest_; }

 private:
  void Cut() { rest_ = rest_.subspan(1); }

  Bytes rest_;
  bool ran_out_ = false;
};

// A sample of 0…largest as a byte. Colours are rounded as Pillow's are; 16-bit grey keeps its high byte.
uint8_t Scale(int64_t value, int64_t largest, bool grey) {
  const double part = static_cast<double>(value) / static_cast<double>(largest);
  if (grey && largest > 255)
    return static_cast<uint8_t>(static_cast<int>(std::fmin(65535, std::nearbyint(part * 65535))) >> 8);
  return static_cast<uint8_t>(std::fmin(255, std::nearbyint(part * 255)));
}

struct Header {
  bool plain = false;
  int channels = 1;
  int64_t width = 0, height = 0;
  int64_t largest = 1;  // 1: bits, where 1 is black
  bool bits = false;
};

Error Truncated(const std::string& name) {
  return DataError(name + ": the PNM file is truncated; get it again");
}

Error Wrong(const std::string& name, const std::string& what) {
  return DataError(name + ": a damaged PNM file: " + what);
}

void Spread(uint8_t grey, uint8_t* out) { out[0] = out[1] = out[2] = grey; }

Result<Image> DecodePlain(Text text, const Header& header, const std::vector<uint8_t>& scaled,
                          const std::string& name) {
  BIFRONS_TRY(Image image, NewImageWithoutRows(header.width, header.height, name));
  for (int64_t y = 0; y < header.height; y++) {
    uint8_t* out = AddRow(&image);
    for (int64_t i = 0; i < header.width * header.channels; i++) {
      std::optional<int64_t> value;
      if (header.bits) {  // white space between them may be missing
        const std::optional<uint8_t> c = text.NextBeyondSpace();
        if (c) value = *c - '0';
      } else {
        value = text.Number();
      }
      if (!value && text.ran_out()) return Truncated(name);
      if (!value || *value < 0 || *value > header.largest) {
        return Wrong(name, "a sample that is no number of 0 to " + std::to_string(header.largest));
      }
      const uint8_t sample = scaled[static_cast<size_t>(*value)];
      header.channels == 1 ? Spread(sample, out + 3 * i) : void(out[i] = sample);
    }
  }
  return image;
}

Result<Image> DecodeRaw(Bytes rest, const Header& header, const std::vector<uint8_t>& scaled,
                        const std::string& name) {
  const size_t samples = static_cast<size_t>(header.width * header.channels);  // of a row
  const size_t stride = header.bits ? (samples + 7) / 8 : samples * (header.largest > 255 ? 2 : 1);
  if (rest.size() / stride < static_cast<size_t>(header.height)) return Truncated(name);
  BIFRONS_TRY(Image image, NewImageWithoutRows(header.width, header.height, name));
  for (int64_t y = 0; y < header.height; y++) {
    const uint8_t* row = rest.data() + static_cast<size_t>(y) * stride;
    uint8_t* out = AddRow(&image);
    for (size_t i = 0; i < samples; i++) {
      const size_t value = header.bits            ? row[i / 8] >> (7 - i % 8) & 1u
                           : header.largest > 255 ? size_t{row[2 * i]} << 8 | row[2 * i + 1]
                                                  : row[i];
      header.channels == 1 ? Spread(scaled[value], out + 3 * i) : void(out[i] = scaled[value]);
    }
  }
  return image;
}

// The text behind the two letters, if they are such a file's and a width follows.
std::optional<Text> Start(Bytes bytes) {
  if (bytes.size() < 3 || bytes[0] != 'P' || bytes[1] < '1' || bytes[1] > '6') return std::nullopt;
  if (!IsSpace(bytes[2]) && bytes[2] != '#') return std::nullopt;
  return Text(bytes.subspan(2));
}

}  // namespace

bool LooksLikePnm(Bytes bytes) {
  std::optional<Text> text = Start(bytes);
  return text && text->Number();
}

Result<Image> DecodePnm(Bytes bytes, const std::string& name, const ImageOptions& options) {
  std::optional<Text> text = Start(bytes);
  if (!text) return Wrong(name, "its header");
  Header header;
  header.plain = bytes[1] <= '3';
  header.bits = bytes[1] == '1' || bytes[1] == '4';
  header.channels = bytes[1] == '3' || bytes[1] == '6' ? 3 : 1;
  const auto width = text->Number(), height = text->Number();
  const auto largest = header.bits ? std::optional<int64_t>(1) : text->Number();
  if (!width || !height || !largest || *largest < 1 || *largest > 65535) return Wrong(name, "its header");
  header.width = *width, header.height = *height, header.largest = *largest;
  BIFRONS_RETURN_IF_ERROR(CheckImageSize(header.width, header.height, name, options));
  // Raw samples may exceed the largest value.
  std::vector<uint8_t> scaled(header.largest > 255 ? 65536 : 256);
  for (size_t v = 0; v < scaled.size(); v++) {
    scaled[v] = header.bits ? static_cast<uint8_t>(v == 0 ? 255 : 0)
                            : Scale(static_cast<int64_t>(v), header.largest, header.channels == 1);
  }
  return header.plain ? DecodePlain(*text, header, scaled, name)
                      : DecodeRaw(text->rest(), header, scaled, name);
}

}  // namespace bifrons
