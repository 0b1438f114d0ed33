// The bodies of MapKernels. Included like vec-inl.h, after it; ends with the table of this instruction set.

// ---- group normalisation ------------------------------------------------------------------------

// Sums `vectors` neighbouring vectors of channels over all pixels: several, because one chain of additions
// waits for its own latency.
template <int vectors, bool squares, class T>
BIFRONS_INLINE void SumColumns(const T* in, int64_t pixels, int64_t channels, const float* centre,
                               float* sums) {
  F32s total[vectors] = {}, middle[vectors] = {};
  if (squares) {
    for (int v = 0; v < vectors; v++) middle[v] = Load(centre + v * kLanes);
  }
  for (int64_t p = 0; p < pixels; p++) {
    for (int v = 0; v < vectors; v++) {
      const F32s x = Load(in + p * channels + v * kLanes) - middle[v];
      total[v] = squares ? MulAdd(x, x, total[v]) : total[v] + x;
    }
  }
  for (int v = 0; v < vectors; v++) Store(sums + v * kLanes, total[v]);
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
    const F32s middle = squares ? LoadFirst(centre + c, rest) : F32s{};
    F32s total = {};
    for (int64_t p = 0; p < pixels; p++) {
      const F32s x = LoadFirst(in + p * channels + c, rest) - middle;
      total = squares ? MulAdd(x, x, total) : total + x;
    }
    StoreFirst(sums + c, rest, total);
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
BIFRONS_INLINE F32s ScaleShiftOne(F32s x, F32s scale, F32s shift) {
  const F32s y = MulAdd(x, scale, shift);
  return silu ? Silu(y) : y;
}

template <bool silu, class T>
BIFRONS_INLINE void ScaleShiftMap(const T* in, int64_t pixels, int64_t channels, const float* scale,
                                  const float* shift, T* out) {
  for (int64_t p = 0; p < pixels; p++, in += channels, out += channels) {
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      Store(out + c, ScaleShiftOne<silu>(Load(in + c), Load(scale + c), Load(shift + c)));
    }
    if (const int64_t rest = channels - c; rest > 0) {
      StoreFirst(out + c, rest,
                 ScaleShiftOne<silu>(LoadFirst(in + c, rest), LoadFirst(scale + c, rest),
                                     LoadFirst(shift + c, rest)));
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

// ---- convolution to three channels --------------------------------------------------------------

// `pixels` neighbouring output pixels share every load of a weight. With `edges`, pixels outside the line are
// skipped (they are zeros).
template <int pixels, bool edges, class T>
BIFRONS_INLINE void ConvPixels(const void* const* rows, int64_t x, int64_t width, int64_t channels,
                               int kernel, const float* weight, const float* bias, float* out) {
  F32s total[pixels][3] = {};
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
        const F32s w0 = Load(w + c), w1 = Load(w + channels + c), w2 = Load(w + 2 * channels + c);
        for (int p = 0; p < pixels; p++) {
          const F32s v = Load(in + p * channels + c);
          total[p][0] = MulAdd(v, w0, total[p][0]);
          total[p][1] = MulAdd(v, w1, total[p][1]);
          total[p][2] = MulAdd(v, w2, total[p][2]);
        }
      }
      for (; c < channels; c++) {
        for (int p = 0; p < pixels; p++) {
          const float v = ToF32(in[p * channels + c]);
          for (int o = 0; o < 3; o++) rest[p][o] += v * w[o * channels + c];
        }
      }
    }
  }
  for (int p = 0; p < pixels; p++) {
    for (int o = 0; o < 3; o++) out[p * 3 + o] = SumLanes(total[p][o]) + rest[p][o] + bias[o];
  }
}

template <class T>
BIFRONS_INLINE void ConvLine(const void* const* rows, int64_t width, int64_t channels, int kernel,
                             const float* weight, const float* bias, float* out) {
  constexpr int kTile = kLanes == 16 ? 8 : 4;
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

// ---- bf16 maps for f32 arithmetic ---------------------------------------------------------------

void WidenAll(const BF16* in, int64_t n, float* out) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(out + i, Load(in + i));
  if (i < n) StoreFirst(out + i, n - i, LoadFirst(in + i, n - i));
}

void AddAndRound(const float* in, const BF16* residual, int64_t n, BF16* out) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Store(out + i, residual ? Load(in + i) + Load(residual + i) : Load(in + i));
  }
  if (const int64_t rest = n - i; rest > 0) {
    const F32s x = LoadFirst(in + i, rest);
    StoreFirst(out + i, rest, residual ? x + LoadFirst(residual + i, rest) : x);
  }
}

#include "kernels/cpu/winograd-inl.h"

constexpr MapKernels kKernels = {ColumnSums, ColumnSquares, ScaleShift, ConvTo3,
                                 WidenAll,   AddAndRound,   Winograd};
