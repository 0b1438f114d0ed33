#include "vision/coded_size.h"

#include <algorithm>
#include <vector>

namespace bifrons {
namespace {

using Bytes = std::span<const uint8_t>;

// Bits from the highest on; zeros beyond the end.
class Bits {
 public:
  explicit Bits(Bytes bytes) : bytes_(bytes) {}

  bool ended() const { return at_ > bytes_.size() * 8; }
  uint64_t Read(int count) {
    uint64_t value = 0;
    for (int i = 0; i < count; i++, at_++) {
      const bool bit = at_ < bytes_.size() * 8 && (bytes_[at_ / 8] >> (7 - at_ % 8) & 1);
      value = value << 1 | (bit ? 1 : 0);
    }
    return value;
  }
  bool Flag() { return Read(1) != 0; }
  void Skip(int count) { at_ += static_cast<size_t>(count); }
  // Exponential-Golomb codes (H.265, 9.2), which AV1 calls uvlc.
  uint64_t Golomb() {
    int zeros = 0;
    while (zeros < 32 && !ended() && !Flag()) zeros++;
    return (uint64_t{1} << zeros) - 1 + Read(zeros);
  }

 private:
  Bytes bytes_;
  size_t at_ = 0;
};

// H.265, 7.3.2.2: as far as the size.
std::optional<CodedSize> ReadSequenceParameters(Bytes unit) {
  // 3 after two zeros only keeps them from looking like a start.
  constexpr size_t kLongest = 256;
  std::vector<uint8_t> bytes;
  size_t zeros = 0;
  for (const uint8_t byte : unit.first(std::min(unit.size(), kLongest))) {
    const bool filler = zeros >= 2 && byte == 3;
    zeros = byte == 0 ? zeros + 1 : 0;
    if (!filler) bytes.push_back(byte);
  }
  Bits bits(bytes);
  bits.Skip(16 + 4);  // the unit's header, the video parameter set
  const int layers = static_cast<int>(bits.Read(3));
  constexpr int kProfile = 88, kLevel = 8;
  bits.Skip(1 + kProfile + kLevel);
  int skipped = 0;
  for (int i = 0; i < layers; i++) {
    if (bits.Flag()) skipped += kProfile;
    if (bits.Flag()) skipped += kLevel;
  }
  if (layers > 0) skipped += 2 * (8 - layers);
  bits.Skip(skipped);
  bits.Golomb();  // its number
  const uint64_t chroma = bits.Golomb();
  if (chroma == 3) bits.Skip(1);
  CodedSize size;
  size.width = bits.Golomb();
  size.height = bits.Golomb();
  if (bits.Flag()) {
    const uint64_t across = chroma == 1 || chroma == 2 ? 2 : 1, down = chroma == 1 ? 2 : 1;
    uint64_t cropped = bits.Golomb();
    cropped = across * (cropped + bits.Golomb());
    size.width -= std::min(cropped, size.width);
    cropped = bits.Golomb();
    cropped = down * (cropped + bits.Golomb());
    size.height -= std::min(cropped, size.height);
  }
  return bits.ended() ? std::nullopt : std::optional(size);
}

// AV1, 5.5.1: as far as the size.
std::optional<CodedSize> ReadSequenceHeader(Bytes obu) {
  Bits bits(obu);
  bits.Skip(3 + 1);  // profile, whether it is a still picture
  if (bits.Flag()) {
    bits.Skip(5);
  } else {
    int delay = 0;  // bits of a delay; 0 where there are none
    if (bits.Flag()) {
      bits.Skip(64);
      if (bits.Flag()) bits.Golomb();
      if (bits.Flag()) {
        delay = static_cast<int>(bits.Read(5)) + 1;
        bits.Skip(32 + 5 + 5);
      }
    }
    const bool display_delay = bits.Flag();
    const uint64_t points = bits.Read(5) + 1;
    for (uint64_t i = 0; i < points; i++) {
      bits.Skip(12);
      if (bits.Read(5) > 7) bits.Skip(1);
      if (delay > 0 && bits.Flag()) bits.Skip(2 * delay + 1);
      if (display_delay && bits.Flag()) bits.Skip(4);
    }
  }
  const int width = static_cast<int>(bits.Read(4)) + 1, height = static_cast<int>(bits.Read(4)) + 1;
  CodedSize size;
  size.width = bits.Read(width) + 1;
  size.height = bits.Read(height) + 1;
  return bits.ended() ? std::nullopt : std::optional(size);
}

}  // namespace

std::optional<CodedSize> HevcCodedSize(Bytes configuration) {
  constexpr size_t kArrays = 22;
  constexpr int kSequenceParameters = 33;
  if (configuration.size() <= kArrays) return std::nullopt;
  Bytes rest = configuration.subspan(kArrays + 1);
  for (int arrays = configuration[kArrays]; arrays > 0 && rest.size() >= 3; arrays--) {
    const int type = rest[0] & 0x3F;
    int units = rest[1] << 8 | rest[2];
    for (rest = rest.subspan(3); units > 0 && rest.size() >= 2; units--) {
      const size_t size = static_cast<size_t>(rest[0] << 8 | rest[1]);
      if (size > rest.size() - 2) return std::nullopt;
      if (type == kSequenceParameters) return ReadSequenceParameters(rest.subspan(2, size));
      rest = rest.subspan(2 + size);
    }
  }
  return std::nullopt;
}

std::optional<CodedSize> Av1CodedSize(Bytes obus) {
  constexpr int kSequenceHeader = 1, kMost = 8;  // a temporal delimiter may precede it, or padding
  for (int i = 0; i < kMost && !obus.empty(); i++) {
    const int type = obus[0] >> 3 & 0xF;
    const bool extended = obus[0] & 4, sized = obus[0] & 2;
    size_t at = extended ? 2 : 1;
    uint64_t size = obus.size() - std::min(at, obus.size());
    if (sized) {
      size = 0;
      bool more = true;
      for (int shift = 0; more && shift < 56 && at < obus.size(); shift += 7, at++) {
        size |= static_cast<uint64_t>(obus[at] & 0x7F) << shift;
        more = obus[at] & 0x80;
      }
    }
    if (at > obus.size() || size > obus.size() - at) return std::nullopt;
    if (type == kSequenceHeader) return ReadSequenceHeader(obus.subspan(at, static_cast<size_t>(size)));
    obus = obus.subspan(at + static_cast<size_t>(size));
  }
  return std::nullopt;
}

}  // namespace bifrons
