// Convolution as one product: rows are output pixels, columns output channels, and the sum goes over the
// taps' input channels, which a block unfolds into shared memory tile by tile. Whatever the tile, a result is
// one sum in the order of taps and channels.
#pragma once

#include "kernels/cuda/vectors.cuh"

namespace bifrons::cuda {

/// What a convolution's kernel must know of its shape. A pixel's depth is taps · in_channels.
struct ConvSizes {
  int height, width, in_channels;  // of the input
  int out_width, out_channels;
  int kernel, stride, padding;
  int64_t pixels;                 // of the output
  int64_t depth, weight_columns;  // of the weights, padded with zeros to whole tiles
};

/// A block's piece of the output, and what each of its threads computes of it. The tile's pixels are dealt
/// out in groups of up to four, channels in groups of four, so that the threads of a warp read shared memory
/// side by side.
template <int kPixelsOfTile, int kChannelsOfTile, int kPixelsOfThread, int kChannelsOfThread, int kTerms>
struct ConvTile {
  static constexpr int kPixels = kPixelsOfTile, kChannels = kChannelsOfTile;
  static constexpr int kThreadPixels = kPixelsOfThread, kThreadChannels = kChannelsOfThread;
  static constexpr int kAcross = kChannels / kThreadChannels;  // threads side by side
  static constexpr int kDown = kPixels / kThreadPixels;
  static constexpr int kThreads = kAcross * kDown;
  static constexpr int kDepth = kTerms;  // of the sums, between two barriers
  // Of a multiprocessor, which leaves 128 registers to a thread.
  static constexpr int kBlocks = 512 / kThreads;
  // Terms whose numbers are loaded ahead, which takes registers.
  static constexpr int kUnrolled = kThreadPixels * kThreadChannels < 64 ? kDepth : 1;
  static constexpr int kGroup = kThreadPixels < 4 ? kThreadPixels : 4;
  static_assert(kThreadPixels % kGroup == 0 && kThreadChannels % 4 == 0 && kThreads % kWarp == 0);
};
using LargeConvTile = ConvTile<128, 128, 8, 8, 8>;
using SmallConvTile = ConvTile<32, 64, 4, 4, 16>;
using ThinConvTile = ConvTile<128, 4, 1, 4, 16>;  // of pictures

/// The patches' side: kCount input channels at once for each of a thread's pixels, zero outside of the map.
template <class In, int kCount, class Tile>
class PatchLoader {
 public:
  static constexpr int kAcross = Tile::kDepth / kCount;
  static constexpr int kAll = Tile::kPixels * kAcross;
  static constexpr int kLoads = (kAll + Tile::kThreads - 1) / Tile::kThreads;
  static_assert(Tile::kThreads % kAcross == 0);

  __device__ __forceinline__ PatchLoader(const ConvSizes& sizes, const In* in, int64_t first_pixel)
      : sizes_(sizes) {
    channel_ = static_cast<int>(threadIdx.x) % kAcross * kCount;
    Settle();
#pragma unroll
    for (int i = 0; i < kLoads; i++) {
      const int64_t pixel = first_pixel + PixelOf(i), line = pixel / sizes.out_width;
      const bool is_there = InTile(i) && pixel < sizes.pixels;
      const int64_t y = line * sizes.stride - sizes.padding;
      const int64_t x = (pixel - line * sizes.out_width) * sizes.stride - sizes.padding;
      corner_[i] = in + (y * sizes.width + x) * sizes.in_channels;
      y_[i] = is_there ? static_cast<int>(y) : kNowhere;
      x_[i] = static_cast<int>(x);
    }
  }

  /// The numbers of this step, and on to the next.
  __device__ __forceinline__ void Next(float (&numbers)[kLoads][kCount]) {
    const int64_t tap = (int64_t{tap_y_} * sizes_.width + tap_x_) * sizes_.in_channels + channel_;
#pragma unroll
    for (int i = 0; i < kLoads; i++) {
      // Negative ones are large, too.
      const auto y = static_cast<uint32_t>(y_[i] + tap_y_), x = static_cast<uint32_t>(x_[i] + tap_x_);
      const bool is_there = tap_y_ < sizes_.kernel && y < static_cast<uint32_t>(sizes_.height) &&
                            x < static_cast<uint32_t>(sizes_.width);
#pragma unroll
      for (int j = 0; j < kCount; j++) numbers[i][j] = 0;
      if (is_there) Load(corner_[i] + tap, numbers[i]);
    }
    channel_ += Tile::kDepth;
    Settle();
  }

  /// Into patches [kDepth][row], transposed.
  __device__ __forceinline__ void Put(const float (&numbers)[kLoads][kCount], float* patches, int row) const {
    const int term = static_cast<int>(threadIdx.x) % kAcross * kCount;
#pragma unroll
    for (int i = 0; i < kLoads; i++) {
      if (!InTile(i)) continue;
#pragma unroll
      for (int j = 0; j < kCount; j++) patches[(term + j) * row + PixelOf(i)] = numbers[i][j];
    }
  }

 private:
  // In the tile.
  __device__ __forceinline__ static int PixelOf(int i) {
    return (static_cast<int>(threadIdx.x) + i * Tile::kThreads) / kAcross;
  }
  __device__ __forceinline__ static bool InTile(int i) {
    return kAll % Tile::kThreads == 0 || PixelOf(i) < Tile::kPixels;
  }
  // Channels beyond a tap's last are the next tap's.
  __device__ __forceinline__ void Settle() {
    while (channel_ >= sizes_.in_channels) {
      channel_ -= sizes_.in_channels;
      if (++tap_x_ == sizes_.kernel) tap_x_ = 0, tap_y_++;
    }
  }

  static constexpr int kNowhere = -(1 << 30);  // a line that no tap leads into the map

  const ConvSizes& sizes_;
  int channel_, tap_x_ = 0, tap_y_ = 0;
  // Of each pixel's first tap in the input.
  const In* corner_[kLoads];
  int y_[kLoads], x_[kLoads];
};

/// The weights' side.
template <class Weight, class Tile>
class WeightLoader {
 public:
  static constexpr int kCount = kPerVector<Weight> < Tile::kChannels ? kPerVector<Weight> : Tile::kChannels;
  static constexpr int kAcross = Tile::kChannels / kCount;
  static constexpr int kAll = Tile::kDepth * kAcross;
  static constexpr int kLoads = (kAll + Tile::kThreads - 1) / Tile::kThreads;
  static_assert(Tile::kThreads % kAcross == 0);

  /// weight [depth, columns].
  __device__ __forceinline__ WeightLoader(const Weight* weight, int64_t columns, int64_t first_channel)
      : columns_(columns) {
    const int thread = static_cast<int>(threadIdx.x);
    next_ = weight + thread / kAcross * columns + first_channel + thread % kAcross * kCount;
  }

  __device__ __forceinline__ void Next(float (&numbers)[kLoads][kCount]) {
#pragma unroll
    for (int i = 0; i < kLoads; i++) {
      if (InTile(i)) Load(next_ + i * (Tile::kThreads / kAcross) * columns_, numbers[i]);
    }
    next_ += Tile::kDepth * columns_;
  }

  /// Into weights [kDepth][kChannels].
  __device__ __forceinline__ void Put(const float (&numbers)[kLoads][kCount], float* weights) const {
#pragma unroll
    for (int i = 0; i < kLoads; i++) {
      if (!InTile(i)) continue;
      float* const to = weights + Index(i) * kCount;
#pragma unroll
      for (int j = 0; j < kCount; j += 4)
        StoreFloat4(to + j,
                    make_float4(numbers[i][j], numbers[i][j + 1], numbers[i][j + 2], numbers[i][j + 3]));
    }
  }

 private:
  __device__ __forceinline__ static int Index(int i) {
    return static_cast<int>(threadIdx.x) + i * Tile::kThreads;
  }
  __device__ __forceinline__ static bool InTile(int i) {
    return kAll % Tile::kThreads == 0 || Index(i) < kAll;
  }

  const Weight* next_;
  int64_t columns_;
};

/// out [pixels, out_channels] = patches of in · weight [depth, weight_columns] + bias [weight_columns]
/// (+ residual, which may be out; null: none). Block (x, y) has tile x of the pixels and tile y of the
/// channels. kCount: of in's numbers at once; wide: whether four of out's may be loaded and stored at once.
template <class In, class Weight, class Out, int kCount, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    ConvKernel(ConvSizes sizes, const In* in, const Weight* weight, const float* bias, const Out* residual,
               bool wide, Out* out) {
  using Patches = PatchLoader<In, kCount, Tile>;
  using Weights = WeightLoader<Weight, Tile>;
  // Rows of patches are a little longer, so that the writes of a warp fall into different banks.
  constexpr int kDepth = Tile::kDepth, kRow = Tile::kPixels + 4;
  constexpr int kPatches = kDepth * kRow, kWeights = kDepth * Tile::kChannels;
  SHARED_ARRAY(float, patches, 2 * kPatches);
  SHARED_ARRAY(float, weights, 2 * kWeights);

  const int64_t first_pixel = int64_t{blockIdx.x} * Tile::kPixels;
  const int64_t first_channel = int64_t{blockIdx.y} * Tile::kChannels;
  const int across = static_cast<int>(threadIdx.x) % Tile::kAcross;
  const int down = static_cast<int>(threadIdx.x) / Tile::kAcross;

  Patches patch_loader(sizes, in, first_pixel);
  Weights weight_loader(weight, sizes.weight_columns, first_channel);
  float patch_numbers[Patches::kLoads][kCount] = {}, weight_numbers[Weights::kLoads][Weights::kCount] = {};
  patch_loader.Next(patch_numbers);
  weight_loader.Next(weight_numbers);
  patch_loader.Put(patch_numbers, patches, kRow);
  weight_loader.Put(weight_numbers, weights);
  __syncthreads();

  float sums[Tile::kThreadPixels][Tile::kThreadChannels] = {};
  const int64_t steps = sizes.depth / kDepth;
  for (int64_t step = 0; step < steps; step++) {
    const bool is_last = step + 1 == steps;
    // The next step's numbers are under way while this one's are multiplied.
    if (!is_last) patch_loader.Next(patch_numbers), weight_loader.Next(weight_numbers);
    const float* const p = patches + step % 2 * kPatches + down * Tile::kGroup;
    const float* const w = weights + step % 2 * kWeights + across * 4;
#pragma unroll Tile::kUnrolled
    for (int k = 0; k < kDepth; k++) {
      float pixel[Tile::kThreadPixels / Tile::kGroup][Tile::kGroup];
      float channel[Tile::kThreadChannels / 4][4];
#pragma unroll
      for (int i = 0; i < Tile::kThreadPixels / Tile::kGroup; i++)
        Load(p + k * kRow + i * Tile::kGroup * Tile::kDown, pixel[i]);
#pragma unroll
      for (int j = 0; j < Tile::kThreadChannels / 4; j++)
        Load(w + k * Tile::kChannels + j * 4 * Tile::kAcross, channel[j]);
#pragma unroll
      for (int i = 0; i < Tile::kThreadPixels; i++) {
#pragma unroll
        for (int j = 0; j < Tile::kThreadChannels; j++) {
          sums[i][j] = fmaf(pixel[i / Tile::kGroup][i % Tile::kGroup], channel[j / 4][j % 4], sums[i][j]);
        }
      }
    }
    if (!is_last) {
      patch_loader.Put(patch_numbers, patches + (step + 1) % 2 * kPatches, kRow);
      weight_loader.Put(weight_numbers, weights + (step + 1) % 2 * kWeights);
    }
    __syncthreads();
  }

#pragma unroll
  for (int i = 0; i < Tile::kThreadPixels; i++) {
    const int64_t pixel =
        first_pixel + i / Tile::kGroup * Tile::kGroup * Tile::kDown + down * Tile::kGroup + i % Tile::kGroup;
    if (pixel >= sizes.pixels) continue;
#pragma unroll
    for (int j = 0; j < Tile::kThreadChannels; j += 4) {
      const int64_t channel = first_channel + j * Tile::kAcross + across * 4;
      const int64_t at = pixel * sizes.out_channels + channel, left = sizes.out_channels - channel;
      float b[4], results[4], before[4] = {};
      Load(bias + channel, b);
      if (wide && left > 0) {
        if (residual) Load(residual + at, before);
#pragma unroll
        for (int l = 0; l < 4; l++) results[l] = (sums[i][j + l] + b[l]) + before[l];
        Store(out + at, results);
      } else {
#pragma unroll
        for (int l = 0; l < 4; l++) {
          if (l >= left) continue;
          const float old = residual ? Widen(residual[at + l]) : 0.0f;
          out[at + l] = Narrow<Out>((sums[i][j + l] + b[l]) + old);
        }
      }
    }
  }
}

}  // namespace bifrons::cuda
