// Group normalisation in three launches: moments of every channel over pieces of the map, which become a
// scale and a shift per channel, which are applied. Every sum has an order of its own, whatever runs when.
#pragma once

#include <type_traits>

#include "kernels/cuda/loads.cuh"
#include "kernels/cuda/reduce.cuh"

namespace bifrons::cuda {

constexpr int kNormThreads = 256;

/// How a map [pixels, channels] is dealt to blocks: `columns` threads side by side have kCount channels each,
/// as many lines of them as the block has room for take pixels in turn.
struct NormTiling {
  int64_t pixels, channels;
  int columns;          // of a block, at most kNormThreads
  int64_t tile_pixels;  // of a block
};

/// kCount numbers as they are loaded.
template <class T, int kCount>
using NormRaw = std::conditional_t<kCount == 1, T, uint4>;

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

/// Of `count` numbers x: pivot is about their mean, `off` the sum of x − pivot, `squares` of (x − pivot)².
struct alignas(16) Moments {
  float pivot, off, squares, count;
};

/// A thread's numbers, all of which are under way before the first is used: addresses beyond the map are
/// those of its last pixel or channel.
template <class T, int kCount>
struct NormNumbers {
  using Raw = NormRaw<T, kCount>;
  Raw raw[kNormPixels<T>];

  __device__ __forceinline__ NormNumbers(const NormTiling& tiling, const NormPlace<T, kCount>& place,
                                         const T* in) {
    const T* const from = in + min(place.channel, tiling.channels - kCount);
#pragma unroll
    for (int i = 0; i < kNormPixels<T>; i++) {
      const int64_t pixel = min(place.Pixel(i), tiling.pixels - 1);
      raw[i] = *reinterpret_cast<const Raw*>(from + pixel * tiling.channels);
    }
  }

  __device__ __forceinline__ void Get(int i, float (&numbers)[kCount]) const {
    if constexpr (kCount == 1) {
      numbers[0] = Widen(raw[i]);
    } else {
      WidenVector<T>(raw[i], numbers);
    }
  }
};

/// moments [tiles, channels] = of each channel over each tile of pixels. Block (x, y): tile x, columns y.
template <class T, int kCount>
__global__ void __launch_bounds__(kNormThreads)
    ChannelMomentsKernel(NormTiling tiling, const T* in, Moments* moments) {
  constexpr int kPixels = kNormPixels<T>;
  SHARED_ARRAY(float, sums, kNormThreads* kCount);  // [lines, columns · kCount]
  SHARED_ARRAY(float, squares, kNormThreads* kCount);
  SHARED_ARRAY(float, pivots, kNormThreads* kCount);  // [columns · kCount]
  const NormPlace<T, kCount> place(tiling);
  const int width = tiling.columns * kCount, own = place.line * width + place.column * kCount;
  const int64_t left = tiling.pixels - place.first_pixel;
  const float n = static_cast<float>(left < tiling.tile_pixels ? left : tiling.tile_pixels);
  const float part = 1.0f / n;

  const NormNumbers<T, kCount> loaded(tiling, place, in);
  float sum[kCount] = {};
#pragma unroll
  for (int i = 0; i < kPixels; i++) {
    const bool there = place.Pixel(i) < tiling.pixels;
    float numbers[kCount];
    loaded.Get(i, numbers);
#pragma unroll
    for (int j = 0; j < kCount; j++) sum[j] += there ? numbers[j] : 0.0f;
  }
  if (place.line < place.lines) {
#pragma unroll
    for (int j = 0; j < kCount; j++) sums[own + j] = sum[j];
  }
  __syncthreads();
  for (int c = static_cast<int>(threadIdx.x); c < width; c += kNormThreads) {
    float total = 0;
#pragma unroll 4
    for (int line = 0; line < place.lines; line++) total += sums[line * width + c];
    pivots[c] = total * part;
  }
  __syncthreads();

  float pivot[kCount], square[kCount] = {};
#pragma unroll
  for (int j = 0; j < kCount; j++) pivot[j] = pivots[place.column * kCount + j], sum[j] = 0;
#pragma unroll
  for (int i = 0; i < kPixels; i++) {
    const bool there = place.Pixel(i) < tiling.pixels;
    float numbers[kCount];
    loaded.Get(i, numbers);
#pragma unroll
    for (int j = 0; j < kCount; j++) {
      const float difference = there ? numbers[j] - pivot[j] : 0.0f;
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
#pragma unroll 4
    for (int line = 0; line < place.lines; line++)
      off += sums[line * width + c], total += squares[line * width + c];
    moments[int64_t{blockIdx.x} * tiling.channels + first_channel + c] = {pivots[c], off, total, n};
  }
}

/// Of a block that joins a group's moments, and how many of them a thread has under way at once.
constexpr int kScaleThreads = 512, kScaleLoads = 8;

/// scale, shift [channels]: (x − mean) / sqrt(variance + eps) · gamma + beta = x · scale + shift, of the
/// moments [tiles, channels]. A block per group.
__global__ void __launch_bounds__(kScaleThreads)
    GroupScaleKernel(NormTiling tiling, const Moments* moments, int64_t tiles, int64_t group_channels,
                     float eps, const float* gamma, const float* beta, float* scale, float* shift) {
  const int64_t first = int64_t{blockIdx.x} * group_channels;
  const auto thread = static_cast<int>(threadIdx.x);
  // Threads side by side have a tile's channels; as many lines of them as there is room for take tiles in
  // turn.
  const auto width = static_cast<int>(min(group_channels, static_cast<int64_t>(kScaleThreads)));
  const int lines = kScaleThreads / width;
  const Moments* const of_group = moments + first;
  // Whatever the numbers' size, one of their means is near enough for sums of squares in f64.
  const auto centre = static_cast<double>(of_group->pivot);
  double sum = 0, squares = 0;  // of all x − centre
  for (int64_t channel = thread % width; channel < group_channels && thread / width < lines;
       channel += width) {
    for (int64_t tile = thread / width; tile < tiles; tile += int64_t{lines} * kScaleLoads) {
      uint4 raw[kScaleLoads];
#pragma unroll
      for (int i = 0; i < kScaleLoads; i++)
        raw[i] = LoadUint4(of_group + min(tile + i * lines, tiles - 1) * tiling.channels + channel);
#pragma unroll
      for (int i = 0; i < kScaleLoads; i++) {
        if (tile + i * lines >= tiles) break;
        const double away = static_cast<double>(FloatOf(raw[i].x)) - centre;
        const auto off = static_cast<double>(FloatOf(raw[i].y));
        const double count_away = static_cast<double>(FloatOf(raw[i].w)) * away;
        sum += off + count_away;
        squares += static_cast<double>(FloatOf(raw[i].z)) + (2 * off + count_away) * away;
      }
    }
  }
  sum = BlockSum<kScaleThreads>(sum);
  squares = BlockSum<kScaleThreads>(squares);
  if (thread >= group_channels) return;
  const double n = static_cast<double>(tiling.pixels * group_channels), part = 1.0 / n;
  const double off = sum * part, mean = centre + off, variance = squares * part - off * off;
  // Rounded sums of squares may be a little less than none; NaN stays what it is.
  const double inverse = 1.0 / sqrt((variance < 0 ? 0.0 : variance) + static_cast<double>(eps));
  for (int64_t c = first + thread; c < first + group_channels; c += kScaleThreads) {
    const double s = inverse * static_cast<double>(gamma[c]);
    scale[c] = static_cast<float>(s);
    shift[c] = static_cast<float>(static_cast<double>(beta[c]) - mean * s);
  }
}

/// One number or fours of them, at an address that is a multiple of their bytes.
template <int kCount>
__device__ __forceinline__ void LoadOfChannels(const float* p, float (&numbers)[kCount]) {
  if constexpr (kCount == 8) {
    Load8(p, numbers);
  } else {
    Load(p, numbers);
  }
}

/// out = in · scale + shift by channel, then swish with kSilu; out may be in. Blocks as
/// ChannelMomentsKernel's.
template <class T, int kCount, bool kSilu>
__global__ void __launch_bounds__(kNormThreads)
    ScaleShiftKernel(NormTiling tiling, const T* in, const float* scale, const float* shift, T* out) {
  const NormPlace<T, kCount> place(tiling);
  if (!place.has_work) return;
  const NormNumbers<T, kCount> loaded(tiling, place, in);
  float s[kCount], t[kCount];
  LoadOfChannels(scale + place.channel, s);
  LoadOfChannels(shift + place.channel, t);
#pragma unroll
  for (int i = 0; i < kNormPixels<T>; i++) {
    float numbers[kCount];
    loaded.Get(i, numbers);
#pragma unroll
    for (int j = 0; j < kCount; j++) {
      const float y = fmaf(numbers[j], s[j], t[j]);
      numbers[j] = kSilu ? Silu(y) : y;
    }
    if (place.Pixel(i) < tiling.pixels)
      Store(out + place.Pixel(i) * tiling.channels + place.channel, numbers);
  }
}

}  // namespace bifrons::cuda
