#include <immintrin.h>

#include "kernels/cpu/row_kernels.h"
#include "kernels/cpu/tile_kernels.h"

namespace bifrons::cpu {
namespace {
#include "kernels/cpu/vec-inl.h"
// (order matters)
#include "kernels/cpu/gelu-inl.h"

// Tiles 0–3 accumulate a 2×2 block of 16×16, 4 and 5 hold rows of the panel, 6 and 7 columns of the stripe.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// In memory for good: GCC 12's intrinsic tells the compiler of its first eight bytes only.
constexpr TileConfig kConfig;

void Configure() { _tile_loadconfig(&kConfig); }

void Release() { _tile_release(); }

// One body for a whole panel and for its upper half: 16 rows alone save the lower half's tiles.
template <bool kLower>
BIFRONS_INLINE void MultiplyHalves(const BF16* panel, const BF16* stripe, int64_t steps, bool accumulate,
                                   float* c, const void* next, int64_t ahead) {
  constexpr int kRow = kPanel * sizeof(float), kHalf = 16;
  if (accumulate) {
    _tile_loadd(0, c, kRow);
    _tile_loadd(1, c + kHalf, kRow);
    if constexpr (kLower) {
      _tile_loadd(2, c + kHalf * kPanel, kRow);
      _tile_loadd(3, c + kHalf * kPanel + kHalf, kRow);
    }
  } else {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (kLower) {
      _tile_zero(2);
      _tile_zero(3);
    }
  }
  const auto* fetch = static_cast<const char*>(next);
  constexpr int kPanelRow = kPanel * sizeof(BF16), kStripeRow = kPanel * 2 * sizeof(BF16);
  for (int64_t step = 0; step < steps; step++, panel += kPanelStep, stripe += kPanelStep) {
    _tile_loadd(4, panel, kPanelRow);
    _tile_loadd(6, stripe, kStripeRow);
    _tile_loadd(7, stripe + kPanel, kStripeRow);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (kLower) {
      _tile_loadd(5, panel + kPanelStep / 2, kPanelRow);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    for (int64_t line = 0; line < ahead; line += 64) __builtin_prefetch(fetch + line, 0, 2);
    fetch += ahead;
  }
  _tile_stored(0, c, kRow);
  _tile_stored(1, c + kHalf, kRow);
  if constexpr (kLower) {
    _tile_stored(2, c + kHalf * kPanel, kRow);
    _tile_stored(3, c + kHalf * kPanel + kHalf, kRow);
  }
}

void Multiply(const BF16* panel, int64_t rows, const BF16* stripe, int64_t steps, bool accumulate, float* c,
              const void* next, int64_t ahead) {
  if (rows > kPanel / 2) {
    MultiplyHalves<true>(panel, stripe, steps, accumulate, c, next, ahead);
  } else {
    MultiplyHalves<false>(panel, stripe, steps, accumulate, c, next, ahead);
  }
}

// 32 values to bf16, nearest even; NaN stays NaN.
BIFRONS_INLINE __m512i RoundPair(F32s low, F32s high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }

BIFRONS_INLINE F32s LoadUpTo(const float* p, int64_t n) {
  if (n >= kLanes) return Load(p);
  return n <= 0 ? F32s{} : (F32s)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}

void PackPanel(const float* x, int64_t rows, int64_t stride, int64_t in, BF16* panel) {
  const int64_t filled = rows > kPanel / 2 ? kPanel : kPanel / 2;
  for (int64_t k = 0; k < in; k += kPanel, panel += kPanelStep) {
    for (int64_t r = 0; r < filled; r++) {
      const float* from = x + r * stride + k;
      const int64_t n = r < rows ? in - k : 0;
      StoreAs(panel + r * kPanel, RoundPair(LoadUpTo(from, n), LoadUpTo(from + kLanes, n - kLanes)));
    }
  }
}

void PackStripe(const float* x, int64_t rows, int64_t stride, int64_t in, BF16* out) {
  for (int64_t k = 0; k < in; k += kPanel, out += kPanelStep) {
    for (int64_t r = 0; r < kPanel; r++) {
      const float* from = x + r * stride + k;
      const int64_t n = r < rows ? in - k : 0;
      uint32_t pairs[kLanes];
      StoreAs(pairs, RoundPair(LoadUpTo(from, n), LoadUpTo(from + kLanes, n - kLanes)));
      for (int p = 0; p < kLanes; p++) __builtin_memcpy(out + (p * kPanel + r) * 2, pairs + p, 4);
    }
  }
}

void PackColumns(const float* x, int64_t rows, int64_t padded, int64_t stride, int64_t columns, BF16* out) {
  for (int64_t r = 0; r < padded; r += 2) {
    for (int64_t c = 0; c < kPanel; c += kLanes, out += 2 * kLanes) {
      const float* from = x + r * stride + c;
      const F32s even = LoadUpTo(from, r < rows ? columns - c : 0);
      const F32s odd = LoadUpTo(from + stride, r + 1 < rows ? columns - c : 0);
      // Each lane holds a pair: even rounded in its low half, odd in its high one.
      const U32s low = __builtin_convertvector((U16s)_mm512_cvtneps_pbh(even), U32s);
      const U32s high = __builtin_convertvector((U16s)_mm512_cvtneps_pbh(odd), U32s);
      StoreAs(out, low | high << 16);
    }
  }
}

void Finish(const float* c, const TileOutput& out) {
  for (int64_t r = 0; r < out.rows; r++) {
    float* y = out.y + r * out.y_stride;
    for (int64_t i = 0; i < out.columns; i += kLanes) {
      const auto mask = (__mmask16)(out.columns - i >= kLanes ? 0xFFFF : (1u << (out.columns - i)) - 1);
      F32s value = Load(c + r * kPanel + i);
      if (out.bias) value += (F32s)_mm512_maskz_loadu_ps(mask, out.bias + i);
      if (out.accumulate) value = (F32s)_mm512_maskz_loadu_ps(mask, y + i) + value;
      _mm512_mask_storeu_ps(y + i, mask, value);
    }
  }
}

void FinishGelu(const float* c, const float* bias, BF16* step) {
  const F32s low = bias ? Load(bias) : F32s{}, high = bias ? Load(bias + kLanes) : F32s{};
  for (int64_t r = 0; r < kPanel; r++, c += kPanel, step += kPanel) {
    StoreAs(step, RoundPair(GeluOf(Load(c) + low), GeluOf(Load(c + kLanes) + high)));
  }
}

// 2^x for x ≤ 0, relative error below 2^-13.7: a cubic for the fraction (minimax on ±1/2, fitted to relative
// error). What it weighs is rounded to bf16's 2^-9 right after.
BIFRONS_INLINE F32s Exp2ForBf16(F32s x) {
  // The masked forms, with all lanes: GCC 12 takes the plain ones' undefined operand for a mistake.
  constexpr __mmask16 kAll = 0xFFFF;
  const F32s n =
      (F32s)_mm512_maskz_roundscale_ps(kAll, (__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const F32s f = x - n;
  F32s p = MulAdd(Set(0.0551716536f), f, Set(0.2426111400f));
  p = MulAdd(p, f, Set(0.6932609677f));
  p = MulAdd(p, f, Set(0.9999280572f));
  return (F32s)_mm512_maskz_scalef_ps(kAll, (__m512)p, (__m512)n);
}

void Softmax(const float* scores, int64_t rows, int64_t n, float scale, BF16* panel, float* inverse) {
  const int64_t blocks = (n + kPanel - 1) / kPanel, rest = n - (blocks - 1) * kPanel;
  const F32s factor = Set(scale * 1.44269504f), lowest = Set(-__builtin_inff());
  const auto low_mask = (__mmask16)(rest >= kLanes ? 0xFFFF : (1u << rest) - 1);
  const auto high_mask = (__mmask16)(rest >= 2 * kLanes ? 0xFFFF
                                     : rest > kLanes    ? (1u << (rest - kLanes)) - 1
                                                        : 0);
  for (int64_t r = 0; r < kPanel; r++) {
    const float* row = scores + r * kPanel;
    BF16* to = panel + r * kPanel;
    if (r >= rows) {
      for (int64_t b = 0; b < blocks; b++) StoreAs(to + b * kPanelStep, __m512i{});
      continue;
    }
    const float* last = row + (blocks - 1) * kTileProduct;
    F32s top = Max((F32s)_mm512_mask_loadu_ps(lowest, low_mask, last),
                   (F32s)_mm512_mask_loadu_ps(lowest, high_mask, last + kLanes));
    for (int64_t b = 0; b + 1 < blocks; b++) {
      top = Max(top, Max(Load(row + b * kTileProduct), Load(row + b * kTileProduct + kLanes)));
    }
    const F32s largest = Set(MaxLane(top));
    F32s sum = {}, sum2 = {};
    for (int64_t b = 0; b < blocks; b++) {
      F32s low = Exp2ForBf16((Load(row + b * kTileProduct) - largest) * factor);
      F32s high = Exp2ForBf16((Load(row + b * kTileProduct + kLanes) - largest) * factor);
      if (b + 1 == blocks) {
        low = (F32s)_mm512_maskz_mov_ps(low_mask, low);
        high = (F32s)_mm512_maskz_mov_ps(high_mask, high);
      }
      sum += low, sum2 += high;
      StoreAs(to + b * kPanelStep, RoundPair(low, high));
    }
    inverse[r] = 1.0f / SumLanes(sum + sum2);
  }
}

int64_t Peak(int64_t rounds) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(6);
  for (int64_t round = 0; round < rounds; round++) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 6);
    _tile_dpbf16ps(2, 4, 6);
    _tile_dpbf16ps(3, 4, 6);
  }
  return rounds * 4 * 16 * 16 * kPanel;
}

}  // namespace

constinit const TileKernels kTileKernelsAmx = {Configure, Release, PackPanel,  PackStripe, PackColumns,
                                               Multiply,  Finish,  FinishGelu, Softmax,    Peak};

}  // namespace bifrons::cpu
