// The bodies of RowKernels. Included like vec-inl.h, after it; ends with the table of this instruction set.
//
// Every sum has one order per row: lane i adds the elements i, i + kLanes, …, the lanes are paired
// (SumLanes), the elements after the last whole vector follow one by one.

#include "kernels/cpu/attention-inl.h"
#include "kernels/cpu/gelu-inl.h"
#include "kernels/cpu/product-inl.h"
#include "kernels/cpu/quantized-inl.h"

void PackRows(ProductKind kind, bool round_to_bf16, const float* x, int64_t rows, int64_t in, int64_t begin,
              int64_t end, void* packed) {
  switch (kind) {
    case ProductKind::kQ8_0:
    case ProductKind::kQ4_0:
    case ProductKind::kQ4_K:
      return PackGroups(x, rows, in, begin, end, packed);
    default:
      return PackNumbers(kind, round_to_bf16, x, rows, in, begin, end, packed);
  }
}

void Product(ProductKind kind, const StripeProduct& p) {
  switch (kind) {
    case ProductKind::kF32:
      return ProductOf<F32Weights>(p);
    case ProductKind::kF16:
      return ProductOf<F16Weights>(p);
    case ProductKind::kBF16:
      return ProductOf<BF16Weights>(p);
    case ProductKind::kBF16Dot:
#if defined(__AVX512BF16__)
      return ProductOf<BF16DotWeights>(p);
#else
      __builtin_trap();
#endif
    case ProductKind::kQ8_0:
      return GroupProductOf<Q8_0Weights>(p);
    case ProductKind::kQ4_0:
      return GroupProductOf<Q4_0Weights>(p);
    case ProductKind::kQ4_K:
      return GroupProductOf<Q4_KWeights>(p);
  }
}

void RmsNorm(const float* x, const float* weight, float eps, int64_t dim, float* y) {
  F32s squares = {};
  int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    const F32s v = Load(x + i);
    squares = MulAdd(v, v, squares);
  }
  float sum = SumLanes(squares);
  for (int64_t j = i; j < dim; j++) sum += x[j] * x[j];
  const float scale = 1.0f / __builtin_sqrtf(sum / static_cast<float>(dim) + eps);
  for (i = 0; i + kLanes <= dim; i += kLanes) Store(y + i, Load(x + i) * scale * Load(weight + i));
  for (; i < dim; i++) y[i] = x[i] * scale * weight[i];
}

// Two passes over the row, which is in the cache: the squares of what is left of the mean do not cancel.
void LayerNorm(const float* x, const float* weight, const float* bias, float eps, int64_t dim, float* y) {
  const auto n = static_cast<float>(dim);
  F32s total = {};
  int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) total += Load(x + i);
  float sum = SumLanes(total);
  for (int64_t j = i; j < dim; j++) sum += x[j];
  const F32s mean = Set(sum / n);
  F32s squares = {};
  for (i = 0; i + kLanes <= dim; i += kLanes) {
    const F32s v = Load(x + i) - mean;
    squares = MulAdd(v, v, squares);
  }
  float variance = SumLanes(squares);
  for (int64_t j = i; j < dim; j++) variance += (x[j] - mean[0]) * (x[j] - mean[0]);
  const float scale = 1.0f / __builtin_sqrtf(variance / n + eps);
  for (i = 0; i + kLanes <= dim; i += kLanes) {
    Store(y + i, MulAdd((Load(x + i) - mean) * scale, Load(weight + i), Load(bias + i)));
  }
  for (; i < dim; i++) y[i] = (x[i] - mean[0]) * scale * weight[i] + bias[i];
}

// Runs `f` over vectors of x; the last, partial one passes through a padded copy, so that an element's result
// does not depend on where it stands.
template <class F>
BIFRONS_INLINE void ForVectors(int64_t n, const float* a, const float* b, float* y, F f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, f(Load(a + i), Load(b + i)));
  if (i < n) StoreFirst(y + i, n - i, f(LoadFirst(a + i, n - i), LoadFirst(b + i, n - i)));
}

void SiluMul(const float* gate, const float* up, int64_t n, float* y) {
  ForVectors(n, gate, up, y, [](F32s g, F32s u) BIFRONS_LAMBDA_INLINE { return Silu(g) * u; });
}

void Gelu(float* x, int64_t n) {
  ForVectors(n, x, x, x, [](F32s v, F32s) BIFRONS_LAMBDA_INLINE { return GeluOf(v); });
}

void Rotate(float* low, float* high, const float* cos, const float* sin, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const float a = low[i], b = high[i];
    low[i] = a * cos[i] - b * sin[i];
    high[i] = b * cos[i] + a * sin[i];
  }
}

void ToBF16s(const float* x, int64_t n, BF16* y) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, Load(x + i));
  if (i < n) StoreFirst(y + i, n - i, LoadFirst(x + i, n - i));
}

// ---- the processor's limits ---------------------------------------------------------------------

// The inner loop of a product whose operands never leave the registers: 24 (or 10) independent sums.
constexpr int kPeakSums = 2 * kMaxTile;

template <class Step>
BIFRONS_INLINE void PeakLoop(int64_t rounds, Step step) {
  F32s sums[kPeakSums];
#pragma GCC unroll 24
  for (int i = 0; i < kPeakSums; i++) sums[i] = Set(static_cast<float>(i));
  for (int64_t round = 0; round < rounds; round++) {
#pragma GCC unroll 24
    for (int i = 0; i < kPeakSums; i++) {
      sums[i] = step(sums[i]);
      asm volatile("" : "+" BIFRONS_VECTOR_REGISTER(sums[i]));  // a sum that is not computed measures nothing
    }
  }
}

int64_t PeakF32(int64_t rounds) {
  F32s a = Set(0.5f), b = Set(0.25f);
  asm volatile("" : "+" BIFRONS_VECTOR_REGISTER(a), "+" BIFRONS_VECTOR_REGISTER(b));
  PeakLoop(rounds, [&](F32s sum) BIFRONS_LAMBDA_INLINE { return MulAdd(a, b, sum); });
  return rounds * kPeakSums * kLanes;
}

#if defined(__AVX512BF16__)
int64_t PeakBF16(int64_t rounds) {
  F32s a = Set(0.5f), b = Set(0.25f);
  asm volatile("" : "+" BIFRONS_VECTOR_REGISTER(a), "+" BIFRONS_VECTOR_REGISTER(b));
  PeakLoop(rounds,
           [&](F32s sum) BIFRONS_LAMBDA_INLINE { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); });
  return rounds * kPeakSums * kLanes * 2;
}
#else
constexpr int64_t (*PeakBF16)(int64_t) = nullptr;
#endif

constexpr RowKernels kKernels = {
    PackRows,
    Product,
    RmsNorm,
    LayerNorm,
    SiluMul,
    Gelu,
    Rotate,
    ToBF16s,
    AttentionOf<float>,
    AttentionOf<BF16>,
    AttentionOf<BlockQ8_0>,
    Multiply,
    Softmax,
    ExponentialsOf,
    PeakF32,
    PeakBF16,
};
