// The bodies of MapKernels, compiled once per instruction set: the including file defines
// BIFRONS_VECTOR_BYTES and BIFRONS_MAP_KERNELS (the getter's name). Everything else has internal linkage.
#include <cstddef>
#include <cstring>

#include "kernels/cpu/map_kernels.h"

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace bifrons::cpu {
namespace {

constexpr int64_t kLanes = BIFRONS_VECTOR_BYTES / 4;

typedef float Floats __attribute__((vector_size(BIFRONS_VECTOR_BYTES)));
typedef int32_t Ints __attribute__((vector_size(BIFRONS_VECTOR_BYTES)));
typedef uint32_t Words __attribute__((vector_size(BIFRONS_VECTOR_BYTES)));
typedef uint16_t Halves __attribute__((vector_size(BIFRONS_VECTOR_BYTES / 2)));

#define BIFRONS_INLINE static inline __attribute__((always_inline))

BIFRONS_INLINE Floats MulAdd(Floats a, Floats b, Floats c) {
#if defined(__AVX512F__)
  return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
  return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
  return (Floats)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

BIFRONS_INLINE Floats Splat(float x) { return x - Floats{}; }

BIFRONS_INLINE Floats Widen(Halves h) { return (Floats)(__builtin_convertvector(h, Words) << 16); }

// As ToBF16: nearest, ties to even, NaN stays NaN.
BIFRONS_INLINE Halves Round(Floats x) {
  const Words bits = (Words)x;
  const Words rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
  return __builtin_convertvector(x != x ? (bits >> 16) | 0x40 : rounded, Halves);
}

BIFRONS_INLINE Floats Load(const float* p) {
  Floats v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
BIFRONS_INLINE Floats Load(const BF16* p) {
  Halves h;
  std::memcpy(&h, p, sizeof(h));
  return Widen(h);
}
BIFRONS_INLINE void Store(Floats v, float* p) { std::memcpy(p, &v, sizeof(v)); }
BIFRONS_INLINE void Store(Floats v, BF16* p) {
  const Halves h = Round(v);
  std::memcpy(p, &h, sizeof(h));
}

// The first n < kLanes elements; the other lanes are zero.
template <class T>
BIFRONS_INLINE Floats LoadFirst(const T* p, int64_t n) {
  T lanes[kLanes] = {};
  std::memcpy(lanes, p, static_cast<size_t>(n) * sizeof(T));
  return Load(lanes);
}
template <class T>
BIFRONS_INLINE void StoreFirst(Floats v, T* p, int64_t n) {
  T lanes[kLanes];
  Store(v, lanes);
  std::memcpy(p, lanes, static_cast<size_t>(n) * sizeof(T));
}

BIFRONS_INLINE float Sum(Floats v) {
  float lanes[kLanes];
  Store(v, lanes);
  for (int64_t step = kLanes / 2; step > 0; step /= 2) {
    for (int64_t i = 0; i < step; i++) lanes[i] += lanes[i + step];
  }
  return lanes[0];
}

// exp(x) for x clamped to ±87: 2^n · p(r) with r = x − n·ln 2, |r| ≤ ln(2)/2; p is the Taylor polynomial of
// degree 7, whose remainder r⁸/8! is below 6e-9 there. NaN stays NaN.
BIFRONS_INLINE Floats Exp(Floats x) {
  x = x < -87.0f ? Splat(-87.0f) : x;
  x = x > 87.0f ? Splat(87.0f) : x;
  constexpr float kMagic = 12582912.0f;  // 1.5·2²³: adding it rounds to an integer in the low bits
  const Floats shifted = MulAdd(x, Splat(1.44269504f), Splat(kMagic));
  const Floats n = shifted - kMagic;
  Floats r = MulAdd(n, Splat(-0.693359375f), x);  // 9 bits: the product is exact
  r = MulAdd(n, Splat(2.12194440e-4f), r);
  Floats p = Splat(1.0f / 5040);
  p = MulAdd(p, r, Splat(1.0f / 720));
  p = MulAdd(p, r, Splat(1.0f / 120));
  p = MulAdd(p, r, Splat(1.0f / 24));
  p = MulAdd(p, r, Splat(1.0f / 6));
  p = MulAdd(p, r, Splat(0.5f));
  p = MulAdd(p, r, Splat(1.0f));
  p = MulAdd(p, r, Splat(1.0f));
  return p * (Floats)((Words)((Ints)shifted << 23) + (127u << 23));
}

// ---- group normalisation
// -----------------------------------------------------------------------------------

// Sums `vectors` neighbouring vectors of channels over all pixels: several, because one chain of additions
// waits for its own latency.
template <int vectors, bool squares, class T>
BIFRONS_INLINE void SumColumns(const T* in, int64_t pixels, int64_t channels, const float* centre,
                               float* sums) {
  Floats total[vectors] = {}, middle[vectors] = {};
  if (squares) {
    for (int v = 0; v < vectors; v++) middle[v] = Load(centre + v * kLanes);
  }
  for (int64_t p = 0; p < pixels; p++) {
    for (int v = 0; v < vectors; v++) {
      const Floats x = Load(in + p * channels + v * kLanes) - middle[v];
      total[v] = squares ? MulAdd(x, x, total[v]) : total[v] + x;
    }
  }
  for (int v = 0; v < vectors; v++) Store(total[v], sums + v * kLanes);
}

template <bool squares, class T>
BIFRONS_INLINE void ColumnTotals(const T* in, int64_t pixels, int64_t channels, const float* centre,
                                 float* sums) {
  int64_t c = 0;
  for (; c + 4 * kLanes <= channels; c += 4 * kLanes) {
    SumColumns<4, squares>(in + c, pixels, channels, squares ? centre + c : nullptr, sums + c);
  }
  for (; c + kLanes <= channels; c += kLanes) {
    SumColumns<1, squares>(in + c, pixels, channels, squares ? centre + c : nullptr, sums + c);
  }
  if (const int64_t rest = channels - c; rest > 0) {
    const Floats middle = squares ? LoadFirst(centre + c, rest) : Floats{};
    Floats total = {};
    for (int64_t p = 0; p < pixels; p++) {
      const Floats x = LoadFirst(in + p * channels + c, rest) - middle;
      total = squares ? MulAdd(x, x, total) : total + x;
    }
    StoreFirst(total, sums + c, rest);
  }
}

void ColumnSums(const void* in, DType type, int64_t pixels, int64_t channels, float* sums) {
  if (type == DType::kBF16) {
    ColumnTotals<false>(static_cast<const BF16*>(in), pixels, channels, nullptr, sums);
  } else {
    ColumnTotals<false>(static_cast<const float*>(in), pixels, channels, nullptr, sums);
  }
}

void ColumnSquares(const void* in, DType type, int64_t pixels, int64_t channels, const float* centre,
                   float* sums) {
  if (type == DType::kBF16) {
    ColumnTotals<true>(static_cast<const BF16*>(in), pixels, channels, centre, sums);
  } else {
    ColumnTotals<true>(static_cast<const float*>(in), pixels, channels, centre, sums);
  }
}

template <bool silu>
BIFRONS_INLINE Floats ScaleShiftOne(Floats x, Floats scale, Floats shift) {
  const Floats y = MulAdd(x, scale, shift);
  return silu ? y / (1.0f + Exp(-y)) : y;
}

template <bool silu, class T>
BIFRONS_INLINE void ScaleShiftMap(const T* in, int64_t pixels, int64_t channels, const float* scale,
                                  const float* shift, T* out) {
  for (int64_t p = 0; p < pixels; p++, in += channels, out += channels) {
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      Store(ScaleShiftOne<silu>(Load(in + c), Load(scale + c), Load(shift + c)), out + c);
    }
    if (const int64_t rest = channels - c; rest > 0) {
      StoreFirst(ScaleShiftOne<silu>(LoadFirst(in + c, rest), LoadFirst(scale + c, rest),
                                     LoadFirst(shift + c, rest)),
                 out + c, rest);
    }
  }
}

template <class T>
BIFRONS_INLINE void ScaleShiftTyped(const void* in, int64_t pixels, int64_t channels, const float* scale,
                                    const float* shift, bool silu, void* out) {
  if (silu) {
    ScaleShiftMap<true>(static_cast<const T*>(in), pixels, channels, scale, shift, static_cast<T*>(out));
  } else {
    ScaleShiftMap<false>(static_cast<const T*>(in), pixels, channels, scale, shift, static_cast<T*>(out));
  }
}

void ScaleShift(const void* in, DType type, int64_t pixels, int64_t channels, const float* scale,
                const float* shift, bool silu, void* out) {
  if (type == DType::kBF16) {
    ScaleShiftTyped<BF16>(in, pixels, channels, scale, shift, silu, out);
  } else {
    ScaleShiftTyped<float>(in, pixels, channels, scale, shift, silu, out);
  }
}

// ---- attention
// ---------------------------------------------------------------------------------------------

template <int rows, int vectors>
BIFRONS_INLINE void MultiplyTile(const float* a, int64_t lda, const float* b, int64_t ldb, int64_t k,
                                 float* c, int64_t ldc) {
  Floats total[rows][vectors] = {};
  for (int64_t i = 0; i < k; i++) {
    Floats line[vectors];
    for (int v = 0; v < vectors; v++) line[v] = Load(b + i * ldb + v * kLanes);
    for (int r = 0; r < rows; r++) {
      const Floats x = Splat(a[r * lda + i]);
      for (int v = 0; v < vectors; v++) total[r][v] = MulAdd(x, line[v], total[r][v]);
    }
  }
  for (int r = 0; r < rows; r++) {
    for (int v = 0; v < vectors; v++) Store(total[r][v], c + r * ldc + v * kLanes);
  }
}

void Multiply(const float* a, int64_t lda, const float* b, int64_t ldb, int64_t k, int64_t n, float* c,
              int64_t ldc) {
  // As many accumulators as leave registers for a line of b: 24 of 32, or 12 of 16.
  constexpr int kRows = BIFRONS_VECTOR_BYTES == 64 ? 8 : 4;
  constexpr int kVectors = 3;
  for (int64_t r = 0; r < kMultiplyRows; r += kRows) {
    int64_t j = 0;
    for (; j + kVectors * kLanes <= n; j += kVectors * kLanes) {
      MultiplyTile<kRows, kVectors>(a + r * lda, lda, b + j, ldb, k, c + r * ldc + j, ldc);
    }
    for (; j < n; j += kLanes) MultiplyTile<kRows, 1>(a + r * lda, lda, b + j, ldb, k, c + r * ldc + j, ldc);
  }
}

void Softmax(float* row, int64_t n) {
  float largest = row[0];
  for (int64_t i = 1; i < n; i++) largest = row[i] > largest ? row[i] : largest;
  Floats total = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Floats e = Exp(Load(row + i) - largest);
    Store(e, row + i);
    total += e;
  }
  float sum = Sum(total);
  if (const int64_t rest = n - i; rest > 0) {
    StoreFirst(Exp(LoadFirst(row + i, rest) - largest), row + i, rest);
    for (; i < n; i++) sum += row[i];
  }
  const float scale = 1.0f / sum;
  for (i = 0; i < n; i++) row[i] *= scale;
}

// ---- convolution to three channels
// -------------------------------------------------------------------------

// `pixels` neighbouring output pixels share every load of a weight. With `edges`, pixels outside the line are
// skipped (they are zeros).
template <int pixels, bool edges, class T>
BIFRONS_INLINE void ConvPixels(const void* const* rows, int64_t x, int64_t width, int64_t channels,
                               int kernel, const float* weight, const float* bias, float* out) {
  Floats total[pixels][3] = {};
  float rest[pixels][3] = {};
  const int reach = kernel / 2;
  for (int ky = 0; ky < kernel; ky++) {
    if (rows[ky] == nullptr) continue;
    for (int kx = 0; kx < kernel; kx++) {
      const int64_t first = x + kx - reach;
      if (edges && (first < 0 || first >= width)) continue;
      const T* in = static_cast<const T*>(rows[ky]) + first * channels;
      const float* w = weight + (ky * kernel + kx) * 3 * channels;
      int64_t c = 0;
      for (; c + kLanes <= channels; c += kLanes) {
        const Floats w0 = Load(w + c), w1 = Load(w + channels + c), w2 = Load(w + 2 * channels + c);
        for (int p = 0; p < pixels; p++) {
          const Floats v = Load(in + p * channels + c);
          total[p][0] = MulAdd(v, w0, total[p][0]);
          total[p][1] = MulAdd(v, w1, total[p][1]);
          total[p][2] = MulAdd(v, w2, total[p][2]);
        }
      }
      for (; c < channels; c++) {
        for (int p = 0; p < pixels; p++) {
          float v;
          if constexpr (sizeof(T) == 2) {
            const uint32_t bits = static_cast<uint32_t>(in[p * channels + c].bits) << 16;
            std::memcpy(&v, &bits, 4);
          } else {
            v = in[p * channels + c];
          }
          for (int o = 0; o < 3; o++) rest[p][o] += v * w[o * channels + c];
        }
      }
    }
  }
  for (int p = 0; p < pixels; p++) {
    for (int o = 0; o < 3; o++) out[p * 3 + o] = Sum(total[p][o]) + rest[p][o] + bias[o];
  }
}

template <class T>
BIFRONS_INLINE void ConvLine(const void* const* rows, int64_t width, int64_t channels, int kernel,
                             const float* weight, const float* bias, float* out) {
  constexpr int kTile = BIFRONS_VECTOR_BYTES == 64 ? 8 : 4;
  const int64_t reach = kernel / 2;
  int64_t x = 0;
  while (x < width) {
    if (x >= reach && x + kTile + reach <= width) {
      ConvPixels<kTile, false, T>(rows, x, width, channels, kernel, weight, bias, out + x * 3);
      x += kTile;
    } else {
      ConvPixels<1, true, T>(rows, x, width, channels, kernel, weight, bias, out + x * 3);
      x++;
    }
  }
}

void ConvTo3(const void* const* rows, DType type, int64_t width, int64_t channels, int kernel,
             const float* weight, const float* bias, float* out) {
  if (type == DType::kBF16) {
    ConvLine<BF16>(rows, width, channels, kernel, weight, bias, out);
  } else {
    ConvLine<float>(rows, width, channels, kernel, weight, bias, out);
  }
}

// ---- bf16 maps for f32 arithmetic
// --------------------------------------------------------------------------

void WidenAll(const BF16* in, int64_t n, float* out) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(Load(in + i), out + i);
  if (i < n) StoreFirst(LoadFirst(in + i, n - i), out + i, n - i);
}

void AddAndRound(const float* in, const BF16* residual, int64_t n, BF16* out) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Store(residual ? Load(in + i) + Load(residual + i) : Load(in + i), out + i);
  }
  if (const int64_t rest = n - i; rest > 0) {
    const Floats x = LoadFirst(in + i, rest);
    StoreFirst(residual ? x + LoadFirst(residual + i, rest) : x, out + i, rest);
  }
}

#include "kernels/cpu/winograd-inl.h"

}  // namespace

const MapKernels& BIFRONS_MAP_KERNELS() {
  static constexpr MapKernels kernels = {ColumnSums, ColumnSquares, ScaleShift,  Multiply, Softmax,
                                         ConvTo3,    WidenAll,      AddAndRound, Winograd};
  return kernels;
}

}  // namespace bifrons::cpu
