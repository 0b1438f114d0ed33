// Group normalisation in three launches: moments of every channel over pieces of the map, which become a
// scale and a shift per channel, which are applied. Every sum has an order of its own, whatever runs when.
#pragma once

#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vectors.cuh"

namespace bifrons::cuda {

constexpr int kNormThreads = 256;

/// How a map [pixels, channels] is dealt to blocks: `columns` threads side by side have kCount channels each,
/// as many lines of them as the block has room for take pixels in turn.
struct NormTiling {
  int64_t pixels, channels;
  int columns;          // of a block, at most kNormThreads
  int64_t tile_pixels;  // of a block
};

/// Pixels that a thread takes: 64 of its numbers at most, which stay in registers.
template <class T>
constexpr int kNormPixels = 4 * static_cast<int>(sizeof(T));

/// A thread's place.
template <class T, int kCount>
struct NormPlace {
  int lines, column, line;
  int64_t channel, first_pixel;
  bool has_work;

  __device__ __forceinline__ explicit NormPlace(const NormTiling& tiling)
      : lines(kNormThreads / tiling.columns),
        column(static_cast<int>(threadIdx.x) % tiling.columns),
        line(static_cast<int>(threadIdx.x) / tiling.columns),
        channel((int64_t{blockIdx.y} * tiling.columns + column) * kCount),
        first_pixel(int64_t{blockIdx.x} * tiling.tile_pixels),
        has_work(line < lines && channel < tiling.channels) {}
  __device__ __forceinline__ int64_t Pixel(int i) const { return first_pixel + int64_t{i} * lines + line; }
};

/// Of n numbers.
struct Moments {
  double mean, squares;  // squares: of what they differ from the mean, summed
};

/// moments [tiles, channels] = of each channel over each tile of pixels. Block (x, y): tile x, columns y.
template <class T, int kCount>
__global__ void __launch_bounds__(kNormThreads)
    ChannelMomentsKernel(NormTiling tiling, const T* in, Moments* moments) {
  constexpr int kPixels = kNormPixels<T>;
  SHARED_ARRAY(float, sums, kNormThreads* kCount);  // [lines, columns · kCount]
  SHARED_ARRAY(float, squares, kNormThreads* kCount);
  SHARED_ARRAY(float, means, kNormThreads* kCount);  // [columns · kCount]
  const NormPlace<T, kCount> place(tiling);
  const int width = tiling.columns * kCount, own = place.line * width + place.column * kCount;
  const int64_t left = tiling.pixels - place.first_pixel;
  const float n = static_cast<float>(left < tiling.tile_pixels ? left : tiling.tile_pixels);

  float numbers[kPixels][kCount], sum[kCount] = {};
#pragma unroll
  for (int i = 0; i < kPixels; i++) {
    if (!place.has_work || place.Pixel(i) >= tiling.pixels) continue;
    Load(in + place.Pixel(i) * tiling.channels + place.channel, numbers[i]);
#pragma unroll
    for (int j = 0; j < kCount; j++) sum[j] += numbers[i][j];
  }
  if (place.line < place.lines) {
#pragma unroll
    for (int j = 0; j < kCount; j++) sums[own + j] = sum[j];
  }
  __syncthreads();
  for (int c = static_cast<int>(threadIdx.x); c < width; c += kNormThreads) {
    float total = 0;
    for (int line = 0; line < place.lines; line++) total += sums[line * width + c];
    means[c] = total / n;
  }
  __syncthreads();

  // The rounded mean is the one that the squares are centred on; what it is off by is summed as well.
  float square[kCount] = {};
#pragma unroll
  for (int j = 0; j < kCount; j++) sum[j] = 0;
#pragma unroll
  for (int i = 0; i < kPixels; i++) {
    if (!place.has_work || place.Pixel(i) >= tiling.pixels) continue;
#pragma unroll
    for (int j = 0; j < kCount; j++) {
      const float difference = numbers[i][j] - means[place.column * kCount + j];
      sum[j] += difference;
      square[j] = fmaf(difference, difference, square[j]);
    }
  }
  if (place.line < place.lines) {
#pragma unroll
    for (int j = 0; j < kCount; j++) sums[own + j] = sum[j], squares[own + j] = square[j];
  }
  __syncthreads();
  const int64_t first_channel = int64_t{blockIdx.y} * width;
  for (int c = static_cast<int>(threadIdx.x); c < width; c += kNormThreads) {
    if (first_channel + c >= tiling.channels) continue;
    float off = 0, total = 0;
    for (int line = 0; line < place.lines; line++)
      off += sums[line * width + c], total += squares[line * width + c];
    const double shift = static_cast<double>(off) / static_cast<double>(n);
    moments[int64_t{blockIdx.x} * tiling.channels + first_channel + c] = {
        static_cast<double>(means[c]) + shift, static_cast<double>(total) - static_cast<double>(off) * shift};
  }
}

/// scale, shift [channels]: (x − mean) / sqrt(variance + eps) · gamma + beta = x · scale + shift, of the
/// moments [tiles, channels]. A block per group.
__global__ void __launch_bounds__(kNormThreads)
    GroupScaleKernel(NormTiling tiling, const Moments* moments, int64_t tiles, int64_t group_channels,
                     float eps, const float* gamma, const float* beta, float* scale, float* shift) {
  const int64_t first = int64_t{blockIdx.x} * group_channels;
  // add(moments, how many numbers they are of) for this thread's share of the group's.
  const auto for_each = [=](const auto& add) {
    for (int64_t i = threadIdx.x; i < tiles * group_channels; i += kNormThreads) {
      const int64_t tile = i / group_channels, channel = first + i % group_channels;
      const int64_t left = tiling.pixels - tile * tiling.tile_pixels;
      const int64_t n = left < tiling.tile_pixels ? left : tiling.tile_pixels;
      add(moments[tile * tiling.channels + channel], static_cast<double>(n));
    }
  };
  const double n = static_cast<double>(tiling.pixels * group_channels);
  double sum = 0, squares = 0;
  for_each([&](const Moments& m, double count) { sum += m.mean * count; });
  const double mean = BlockSum<kNormThreads>(sum) / n;
  for_each([&](const Moments& m, double count) {
    squares += m.squares + (m.mean - mean) * (m.mean - mean) * count;
  });
  const double variance = BlockSum<kNormThreads>(squares) / n;
  const double inverse = 1.0 / sqrt(variance + static_cast<double>(eps));
  for (int64_t c = first + threadIdx.x; c < first + group_channels; c += kNormThreads) {
    const double s = inverse * static_cast<double>(gamma[c]);
    scale[c] = static_cast<float>(s);
    shift[c] = static_cast<float>(static_cast<double>(beta[c]) - mean * s);
  }
}

/// out = in · scale + shift by channel, then swish with kSilu; out may be in. Blocks as
/// ChannelMomentsKernel's.
template <class T, int kCount, bool kSilu>
__global__ void __launch_bounds__(kNormThreads)
    ScaleShiftKernel(NormTiling tiling, const T* in, const float* scale, const float* shift, T* out) {
  const NormPlace<T, kCount> place(tiling);
  if (!place.has_work) return;
  float s[kCount], t[kCount];
#pragma unroll
  for (int j = 0; j < kCount; j++) s[j] = scale[place.channel + j], t[j] = shift[place.channel + j];
#pragma unroll 4
  for (int i = 0; i < kNormPixels<T>; i++) {
    if (place.Pixel(i) >= tiling.pixels) break;
    const int64_t at = place.Pixel(i) * tiling.channels + place.channel;
    float numbers[kCount];
    Load(in + at, numbers);
#pragma unroll
    for (int j = 0; j < kCount; j++) {
      const float y = fmaf(numbers[j], s[j], t[j]);
      numbers[j] = kSilu ? Silu(y) : y;
    }
    Store(out + at, numbers);
  }
}

}  // namespace bifrons::cuda
