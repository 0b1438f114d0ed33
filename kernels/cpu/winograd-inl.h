// Winograd's F(4×4, 3×3): sixteen outputs of a 3×3 convolution for 36 products instead of 144. Lavin and
// Gray, "Fast Algorithms for Convolutional Neural Networks", 2015. Part of maps-inl.h.
//
// A tile is 4×4 outputs, its patch 6×6 inputs. Transformed patches are [36, kWinogradTiles, in_channels],
// transformed weights [36, out_channels / kWinogradPanel, in_channels, kWinogradPanel], products [36,
// kWinogradTiles, out_channels]; between the 36 parts of patches and products lies a cache line, lest all of
// them fall into one set of the cache.

#include "kernels/cpu/multiply-inl.h"

// Floats from one of the 36 parts to the next.
BIFRONS_INLINE int64_t WinogradPart(int64_t channels) { return kWinogradTiles * channels + 16; }

// out = Bᵀ·in for one line of six.
BIFRONS_INLINE void PatchLine(const F32s* in, int64_t stride, F32s* out, int64_t out_stride) {
  const F32s a = in[0], b = in[stride], c = in[2 * stride], d = in[3 * stride], e = in[4 * stride],
             f = in[5 * stride];
  const F32s even = MulAdd(Set(-4.0f), c, e), odd = MulAdd(Set(-4.0f), b, d);
  const F32s even2 = e - c, odd2 = 2.0f * (d - b);
  out[0] = MulAdd(Set(4.0f), a, MulAdd(Set(-5.0f), c, e));
  out[out_stride] = even + odd;
  out[2 * out_stride] = even - odd;
  out[3 * out_stride] = even2 + odd2;
  out[4 * out_stride] = even2 - odd2;
  out[5 * out_stride] = MulAdd(Set(4.0f), b, MulAdd(Set(-5.0f), d, f));
}

// out = Aᵀ·in: six products to four outputs.
BIFRONS_INLINE void TileLine(const F32s* in, int64_t stride, F32s* out, int64_t out_stride) {
  const F32s sum = in[stride] + in[2 * stride], difference = in[stride] - in[2 * stride];
  const F32s sum2 = in[3 * stride] + in[4 * stride], difference2 = in[3 * stride] - in[4 * stride];
  out[0] = in[0] + sum + sum2;
  out[out_stride] = MulAdd(Set(2.0f), difference2, difference);
  out[2 * out_stride] = MulAdd(Set(4.0f), sum2, sum);
  out[3 * out_stride] = MulAdd(Set(8.0f), difference2, difference) + in[5 * stride];
}

template <class T>
BIFRONS_INLINE void TransformPatch(const T* map, const WinogradShape& s, int64_t y, int64_t x, float* patch) {
  const int64_t next = WinogradPart(s.in_channels);
  for (int64_t c = 0; c < s.in_channels; c += kLanes) {
    F32s in[36], half[36], out[36];
    for (int64_t i = 0; i < 6; i++) {
      for (int64_t j = 0; j < 6; j++) {
        const int64_t row = y + i - 1, column = x + j - 1;
        const bool inside = row >= 0 && row < s.height && column >= 0 && column < s.width;
        in[i * 6 + j] = inside ? Load(map + (row * s.width + column) * s.in_channels + c) : F32s{};
      }
    }
    for (int64_t j = 0; j < 6; j++) PatchLine(in + j, 6, half + j, 6);
    for (int64_t i = 0; i < 6; i++) PatchLine(half + i * 6, 1, out + i * 6, 1);
    for (int64_t k = 0; k < 36; k++) Store(patch + k * next + c, out[k]);
  }
}

template <class T>
BIFRONS_INLINE void TransformTile(const float* products, const WinogradShape& s, const float* bias,
                                  const T* residual, int64_t y, int64_t x, T* map) {
  const int64_t next = WinogradPart(s.out_channels);
  for (int64_t c = 0; c < s.out_channels; c += kLanes) {
    F32s in[36], half[24], out[16];
    for (int64_t k = 0; k < 36; k++) in[k] = Load(products + k * next + c);
    for (int64_t j = 0; j < 6; j++) TileLine(in + j, 6, half + j, 6);
    for (int64_t i = 0; i < 4; i++) TileLine(half + i * 6, 1, out + i * 4, 1);
    const F32s shift = Load(bias + c);
    for (int64_t i = 0; i < 4 && y + i < s.height; i++) {
      for (int64_t j = 0; j < 4 && x + j < s.width; j++) {
        const int64_t at = ((y + i) * s.width + x + j) * s.out_channels + c;
        const F32s value = out[i * 4 + j] + shift;
        Store(map + at, residual ? value + Load(residual + at) : value);
      }
    }
  }
}

template <class T>
BIFRONS_INLINE void WinogradTyped(const T* in, const WinogradShape& s, const float* weight, const float* bias,
                                  const T* residual, int64_t first, int64_t tiles, float* scratch, T* out) {
  // 24 of 32 registers, or 12 of 16, accumulate.
  constexpr int kVectors = kLanes == 16 ? 4 : 2;
  constexpr int kRows = 6;
  static_assert(kWinogradTiles % kRows == 0);
  const int64_t across = (s.width + 3) / 4;
  float* patches = scratch;
  float* products = scratch + 36 * WinogradPart(s.in_channels);
  for (int64_t t = 0; t < tiles; t++) {
    TransformPatch(in, s, (first + t) / across * 4, (first + t) % across * 4, patches + t * s.in_channels);
  }
  for (int64_t k = 0; k < 36; k++) {
    const float* a = patches + k * WinogradPart(s.in_channels);
    const float* b = weight + k * s.in_channels * s.out_channels;
    float* c = products + k * WinogradPart(s.out_channels);
    for (int64_t j = 0; j < s.out_channels; j += kVectors * kLanes) {
      for (int64_t t = 0; t < tiles; t += kRows) {
        const float* columns = b + j / kWinogradPanel * kWinogradPanel * s.in_channels + j % kWinogradPanel;
        MultiplyTile<kRows, kVectors>(a + t * s.in_channels, s.in_channels, columns, kWinogradPanel,
                                      s.in_channels, c + t * s.out_channels + j, s.out_channels);
      }
    }
  }
  for (int64_t t = 0; t < tiles; t++) {
    TransformTile(products + t * s.out_channels, s, bias, residual, (first + t) / across * 4,
                  (first + t) % across * 4, out);
  }
}

void Winograd(const void* in, DType type, const WinogradShape& shape, const float* weight, const float* bias,
              const void* residual, int64_t first, int64_t tiles, float* scratch, void* out) {
  if (type == DType::kBF16) {
    WinogradTyped(static_cast<const BF16*>(in), shape, weight, bias, static_cast<const BF16*>(residual),
                  first, tiles, scratch, static_cast<BF16*>(out));
  } else {
    WinogradTyped(static_cast<const float*>(in), shape, weight, bias, static_cast<const float*>(residual),
                  first, tiles, scratch, static_cast<float*>(out));
  }
}
