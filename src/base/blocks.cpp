#include "src/base/blocks.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace bifrons {
namespace {

// The scale of the largest magnitude's step, and what maps numbers onto steps; none where all are zero.
float Inverse(float scale) {
  const float inverse = scale == 0 ? 0 : 1 / scale;
  return std::isfinite(inverse) ? inverse : 0;  // of numbers that f16 takes for zero
}

// gguf/quants.py: Q8_0.quantize_blocks. Halves are rounded away from zero.
void QuantizeBlock(const float* x, BlockQ8_0& block) {
  int32_t largest = 0;  // bits of a magnitude, ordered as the numbers are, NaN above all
  for (int i = 0; i < BlockQ8_0::kValues; i++)
    largest = std::max(largest, std::bit_cast<int32_t>(x[i]) & 0x7FFFFFFF);
  const float scale = std::bit_cast<float>(largest) / 127, inverse = Inverse(scale);
  block.scale = ToF16(scale);
  if (!std::isfinite(scale)) return static_cast<void>(std::fill_n(block.q, BlockQ8_0::kValues, int8_t{0}));
  for (int i = 0; i < BlockQ8_0::kValues; i++) {
    const float step = x[i] * inverse;
    const auto whole = static_cast<int32_t>(step);
    const float rest = step - static_cast<float>(whole);  // exact; std::round would be a call each
    block.q[i] = static_cast<int8_t>(whole + (rest >= 0.5f) - (rest <= -0.5f));
  }
}

void DequantizeBlock(const BlockQ8_0& block, float* x) {
  const float scale = ToFloat(block.scale);
  for (int i = 0; i < BlockQ8_0::kValues; i++) x[i] = scale * static_cast<float>(block.q[i]);
}

// gguf/quants.py: Q4_0.quantize_blocks. The number of the largest magnitude becomes −8, whatever its sign.
void QuantizeBlock(const float* x, BlockQ4_0& block) {
  constexpr int kHalf = BlockQ4_0::kValues / 2;
  float largest = x[0];
  for (int i = 0; i < BlockQ4_0::kValues; i++) {
    if (std::fabs(x[i]) > std::fabs(largest)) largest = x[i];
  }
  const float scale = largest / -8, inverse = Inverse(scale);
  block.scale = ToF16(scale);
  const auto step = [inverse](float value) {
    const auto shifted = static_cast<float>(static_cast<double>(value) * static_cast<double>(inverse) + 8.5);
    return static_cast<uint8_t>(std::clamp(std::trunc(shifted), 0.0f, 15.0f));
  };
  for (int i = 0; i < kHalf; i++) block.q[i] = static_cast<uint8_t>(step(x[i]) | step(x[i + kHalf]) << 4);
}

void DequantizeBlock(const BlockQ4_0& block, float* x) {
  constexpr int kHalf = BlockQ4_0::kValues / 2;
  const float scale = ToFloat(block.scale);
  for (int i = 0; i < kHalf; i++) {
    x[i] = scale * static_cast<float>((block.q[i] & 15) - 8);
    x[i + kHalf] = scale * static_cast<float>((block.q[i] >> 4) - 8);
  }
}

// ---- q4_k: every group is fitted by a line from its steps 0…15 to its numbers
// ------------------------------

constexpr int kGroup = BlockQ4_K::kGroup, kMostSteps = 15, kMostScale = 63;

// Numbers are scale · step − min. A block stores no negative min.
struct Line {
  float scale = 0, min = 0;
};

typedef float F32x4 __attribute__((vector_size(16)));

F32x4 LoadFour(const float* x) {
  F32x4 v;
  std::memcpy(&v, x, sizeof(v));
  return v;
}

float Sum(F32x4 v) { return (v[0] + v[2]) + (v[1] + v[3]); }

// To nearest, of numbers from 0 to 2²²: beside 2²³ the last place of an f32 is a one.
template <class V>
V Nearest(V x) {
  constexpr float kOnes = 0x1p23f;
  return x + kOnes - kOnes;
}

F32x4 StepsOf(F32x4 x, const Line& line, float inverse) {
  constexpr F32x4 kLeast{}, kMost = kLeast + static_cast<float>(kMostSteps);
  const F32x4 steps = (x + line.min) * inverse;
  const F32x4 positive = steps > kLeast ? steps : kLeast;
  return Nearest(positive < kMost ? positive : kMost);
}

// Of a group's nearest steps, the sum of squares.
float ErrorOf(const float* x, const Line& line) {
  const float inverse = Inverse(line.scale);
  F32x4 error{};
  for (int i = 0; i < kGroup; i += 4) {
    const F32x4 numbers = LoadFour(x + i);
    const F32x4 off = line.scale * StepsOf(numbers, line, inverse) - line.min - numbers;
    error += off * off;
  }
  return Sum(error);
}

// The line of least squares through the steps that another line gives.
Line Fitted(const float* x, const Line& from) {
  const float inverse = Inverse(from.scale);
  F32x4 all_steps{}, all_squares{}, all_numbers{}, all_products{};
  for (int i = 0; i < kGroup; i += 4) {
    const F32x4 number = LoadFour(x + i), step = StepsOf(number, from, inverse);
    all_steps += step, all_squares += step * step, all_numbers += number, all_products += step * number;
  }
  const float steps = Sum(all_steps), squares = Sum(all_squares);
  const float numbers = Sum(all_numbers), products = Sum(all_products);
  if (const float spread = kGroup * squares - steps * steps; spread > 0) {
    const float scale = (kGroup * products - steps * numbers) / spread;
    const float min = (steps * scale - numbers) / kGroup;
    if (min >= 0 && scale > 0) return {scale, min};
  }
  if (squares > 0 && products > 0) return {products / squares, 0};
  return from;
}

Line FitGroup(const float* x) {
  const auto [low, high] = std::minmax_element(x, x + kGroup);
  const float min = std::max(0.0f, -*low), range = *high + min;
  if (!(range > 0)) return {0, min};
  Line best{range / kMostSteps, min};
  float least = ErrorOf(x, best);
  // Steps that leave the ends out, or do not reach them, are often closer to the rest.
  constexpr int kTried = 20;
  for (int i = 0; i <= kTried; i++) {
    const float steps = kMostSteps - 1 + 0.1f * static_cast<float>(i);
    const Line line = Fitted(x, {range / steps, min});
    if (const float error = ErrorOf(x, line); error < least) least = error, best = line;
  }
  return best;
}

uint8_t SixBits(float x, float inverse) {
  return static_cast<uint8_t>(Nearest(std::clamp(x * inverse, 0.0f, static_cast<float>(kMostScale))));
}

// A group's six bits where they and their neighbours fit its numbers best.
void Refine(const float* x, float scale, float min_scale, uint8_t& s, uint8_t& m) {
  float least = std::numeric_limits<float>::infinity();
  const int first_s = s, first_m = m;
  for (int ds = -1; ds <= 1; ds++) {
    for (int dm = -1; dm <= 1; dm++) {
      const int tried_s = std::clamp(first_s + ds, 0, kMostScale);
      const int tried_m = std::clamp(first_m + dm, 0, kMostScale);
      const float error =
          ErrorOf(x, {scale * static_cast<float>(tried_s), min_scale * static_cast<float>(tried_m)});
      if (error < least) {
        least = error;
        s = static_cast<uint8_t>(tried_s), m = static_cast<uint8_t>(tried_m);
      }
    }
  }
}

// The first four groups' six bits lie in bytes of their own, whose upper two bits are those of the last four.
void SetGroups(const GroupScales& groups, BlockQ4_K& block) {
  for (size_t i = 0; i < 4; i++) {
    const uint8_t s = groups.scale[i + 4], m = groups.min[i + 4];
    block.groups[i] = static_cast<uint8_t>(groups.scale[i] | (s >> 4) << 6);
    block.groups[i + 4] = static_cast<uint8_t>(groups.min[i] | (m >> 4) << 6);
    block.groups[i + 8] = static_cast<uint8_t>((s & 15) | (m & 15) << 4);
  }
}

void QuantizeBlock(const float* x, BlockQ4_K& block) {
  std::array<Line, BlockQ4_K::kGroups> lines;
  float largest_scale = 0, largest_min = 0;
  for (size_t g = 0; g < lines.size(); g++) {
    lines[g] = FitGroup(x + g * kGroup);
    largest_scale = std::max(largest_scale, lines[g].scale);
    largest_min = std::max(largest_min, lines[g].min);
  }
  block.scale = ToF16(largest_scale / kMostScale);
  block.min_scale = ToF16(largest_min / kMostScale);
  const float scale = ToFloat(block.scale), min_scale = ToFloat(block.min_scale);
  GroupScales groups;
  for (size_t g = 0; g < lines.size(); g++) {
    groups.scale[g] = SixBits(lines[g].scale, Inverse(scale));
    groups.min[g] = SixBits(lines[g].min, Inverse(min_scale));
    Refine(x + g * kGroup, scale, min_scale, groups.scale[g], groups.min[g]);
  }
  SetGroups(groups, block);
  for (size_t g = 0; g < lines.size(); g++) {
    const Line line{scale * static_cast<float>(groups.scale[g]),
                    min_scale * static_cast<float>(groups.min[g])};
    const float inverse = Inverse(line.scale);
    uint8_t* to = block.q + g / 2 * kGroup;
    for (int i = 0; i < kGroup; i += 4) {
      const F32x4 steps = StepsOf(LoadFour(x + g * kGroup + static_cast<size_t>(i)), line, inverse);
      for (int j = 0; j < 4; j++) {
        const auto step = static_cast<uint8_t>(steps[j]);
        to[i + j] = static_cast<uint8_t>(g % 2 == 0 ? step : to[i + j] | step << 4);
      }
    }
  }
}

void DequantizeBlock(const BlockQ4_K& block, float* x) {
  const GroupScales groups = GroupsOf(block);
  for (size_t g = 0; g < groups.scale.size(); g++) {
    const float scale = ToFloat(block.scale) * static_cast<float>(groups.scale[g]);
    const float min = ToFloat(block.min_scale) * static_cast<float>(groups.min[g]);
    for (int i = 0; i < kGroup; i++) {
      const int step = block.q[g / 2 * kGroup + static_cast<size_t>(i)] >> (g % 2 * 4) & 15;
      *x++ = scale * static_cast<float>(step) - min;
    }
  }
}

template <class B>
void QuantizeAll(const float* x, int64_t n, void* blocks) {
  for (B& block : std::span(static_cast<B*>(blocks), static_cast<size_t>(n / B::kValues))) {
    QuantizeBlock(x, block);
    x += B::kValues;
  }
}

template <class B>
void DequantizeAll(const void* blocks, int64_t n, float* x) {
  for (const B& block : std::span(static_cast<const B*>(blocks), static_cast<size_t>(n / B::kValues))) {
    DequantizeBlock(block, x);
    x += B::kValues;
  }
}

}  // namespace

GroupScales GroupsOf(const BlockQ4_K& block) {
  GroupScales groups;
  for (size_t i = 0; i < 4; i++) {
    const uint8_t s = block.groups[i], m = block.groups[i + 4], last = block.groups[i + 8];
    groups.scale[i] = s & 63, groups.scale[i + 4] = static_cast<uint8_t>((last & 15) | (s >> 6) << 4);
    groups.min[i] = m & 63, groups.min[i + 4] = static_cast<uint8_t>(last >> 4 | (m >> 6) << 4);
  }
  return groups;
}

void Quantize(const float* x, int64_t n, DType type, void* blocks) {
  BIFRONS_CHECK(n % BlockOf(type).values == 0);
  switch (type) {
    case DType::kQ8_0:
      return QuantizeAll<BlockQ8_0>(x, n, blocks);
    case DType::kQ4_0:
      return QuantizeAll<BlockQ4_0>(x, n, blocks);
    case DType::kQ4_K:
      return QuantizeAll<BlockQ4_K>(x, n, blocks);
    default:
      BIFRONS_CHECK(false, "%s has no blocks", NameOf(type));
  }
}

void Dequantize(const void* blocks, DType type, int64_t n, float* x) {
  BIFRONS_CHECK(n % BlockOf(type).values == 0);
  switch (type) {
    case DType::kQ8_0:
      return DequantizeAll<BlockQ8_0>(blocks, n, x);
    case DType::kQ4_0:
      return DequantizeAll<BlockQ4_0>(blocks, n, x);
    case DType::kQ4_K:
      return DequantizeAll<BlockQ4_K>(blocks, n, x);
    default:
      BIFRONS_CHECK(false, "%s has no blocks", NameOf(type));
  }
}

}  // namespace bifrons
