// Element types of tensors, and the conversions between the 16-bit floats and f32.
// Types that store several numbers together are taken apart in blocks.h.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "src/base/check.h"

namespace bifrons {

enum class DType : uint8_t { kF32, kBF16, kF16, kI32, kU8, kQ8_0, kQ4_0, kQ4_K };

/// What a type is stored in: so many values together in so many bytes. A plain number is a block of one.
struct Block {
  int64_t values;
  size_t bytes;
};

constexpr Block BlockOf(DType type) {
  switch (type) {
    case DType::kF32:
    case DType::kI32:
      return {1, 4};
    case DType::kBF16:
    case DType::kF16:
      return {1, 2};
    case DType::kU8:
      return {1, 1};
    case DType::kQ8_0:
      return {32, 34};
    case DType::kQ4_0:
      return {32, 18};
    case DType::kQ4_K:
      return {256, 144};
  }
  return {1, 0};
}

/// Whether its numbers are small integers that share a scale (blocks.h).
constexpr bool IsQuantized(DType type) { return BlockOf(type).values > 1; }

/// Of so many values in a row, which are whole blocks.
constexpr size_t BytesOf(DType type, int64_t values) {
  const Block block = BlockOf(type);
  BIFRONS_CHECK(values % block.values == 0, "%lld values in blocks of %lld", static_cast<long long>(values),
                static_cast<long long>(block.values));
  return static_cast<size_t>(values / block.values) * block.bytes;
}

constexpr const char* NameOf(DType type) {
  switch (type) {
    case DType::kF32:
      return "f32";
    case DType::kBF16:
      return "bf16";
    case DType::kF16:
      return "f16";
    case DType::kI32:
      return "i32";
    case DType::kU8:
      return "u8";
    case DType::kQ8_0:
      return "q8_0";
    case DType::kQ4_0:
      return "q4_0";
    case DType::kQ4_K:
      return "q4_k";
  }
  return "?";
}

/// bfloat16: the upper half of an f32. A distinct type, so that it never mixes with integers.
struct BF16 {
  uint16_t bits;
};

/// IEEE half precision.
struct F16 {
  uint16_t bits;
};

inline float ToFloat(float x) { return x; }

inline float ToFloat(BF16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }

inline float ToFloat(F16 x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000) << 16;
  const uint32_t exponent = (x.bits >> 10) & 31, mantissa = x.bits & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // zero and subnormals are exact
  return sign ? -magnitude : magnitude;
}

/// Round to nearest, ties to even; NaN stays NaN.
inline BF16 ToBF16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40)};
  return {static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1)) >> 16)};
}

/// Round to nearest, ties to even; what is too large becomes infinite, NaN stays NaN.
inline F16 ToF16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x), magnitude = bits & 0x7FFFFFFFu;
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const auto with_sign = [sign](uint32_t half) { return F16{static_cast<uint16_t>(sign | half)}; };
  if (magnitude > 0x7F800000u) return with_sign(0x7E00);
  if (magnitude >= 0x47800000u) return with_sign(0x7C00);
  if (magnitude < 0x38800000u) {  // beside ½ the last place of an f32 is that of a subnormal half
    const float rounded = std::bit_cast<float>(magnitude) + 0.5f;
    return with_sign(std::bit_cast<uint32_t>(rounded) - 0x3F000000u);
  }
  return with_sign((magnitude + 0xFFFu + (magnitude >> 13 & 1) - 0x38000000u) >> 13);
}

/// Storage type → DType at compile time.
template <class T>
constexpr DType DTypeOf();
template <>
constexpr DType DTypeOf<float>() {
  return DType::kF32;
}
template <>
constexpr DType DTypeOf<BF16>() {
  return DType::kBF16;
}
template <>
constexpr DType DTypeOf<F16>() {
  return DType::kF16;
}
template <>
constexpr DType DTypeOf<int32_t>() {
  return DType::kI32;
}
template <>
constexpr DType DTypeOf<uint8_t>() {
  return DType::kU8;
}

}  // namespace bifrons
