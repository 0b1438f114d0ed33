// What the kernels of convolutions share. A convolution is one product: rows are output pixels, columns
// output channels, and the sum goes over the taps' input channels, which a block takes out of the map step by
// step. Whatever the tile, a result is one sum in the order of taps and channels.
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

/// Walks over the patches of some of a block's kPixels pixels, kDepth terms a step, with the block's
/// kThreads. A thread has kCount input channels at once of kLoads pixels.
template <class In, int kCount, class Tile>
class PatchWalk {
 public:
  static constexpr int kAcross = Tile::kDepth / kCount;
  static constexpr int kAll = Tile::kPixels * kAcross;
  static constexpr int kLoads = (kAll + Tile::kThreads - 1) / Tile::kThreads;
  static_assert(Tile::kThreads % kAcross == 0);

  __device__ __forceinline__ PatchWalk(const ConvSizes& sizes, const In* in, int64_t first_pixel)
      : sizes_(sizes), channel_(Across() * kCount), offset_(Across() * kCount) {
    Settle();
#pragma unroll
    for (int i = 0; i < kLoads; i++) {
      const int64_t pixel = first_pixel + PixelOf(i), line = pixel / sizes.out_width;
      const bool is_there = InTile(i) && pixel < sizes.pixels;
      const int64_t y = line * sizes.stride - sizes.padding;
      const int64_t x = (pixel - line * sizes.out_width) * sizes.stride - sizes.padding;
      corner_[i] = in + (y * sizes.width + x) * sizes.in_channels;
      taps_[i] = 0;
      for (int tap = 0, tap_y = 0; tap_y < sizes.kernel; tap_y++) {
        for (int tap_x = 0; tap_x < sizes.kernel; tap_x++, tap++) {
          const bool in_map = is_there && y + tap_y >= 0 && y + tap_y < sizes.height && x + tap_x >= 0 &&
                              x + tap_x < sizes.width;
          taps_[i] |= static_cast<uint32_t>(in_map) << tap;
        }
      }
    }
  }

  /// Which of a step's numbers this thread has, in units of kCount.
  __device__ __forceinline__ static int Across() { return static_cast<int>(threadIdx.x) % kAcross; }
  /// Its pixels, in the tile.
  __device__ __forceinline__ static int PixelOf(int i) {
    return (static_cast<int>(threadIdx.x) + i * Tile::kThreads) / kAcross;
  }
  __device__ __forceinline__ static bool InTile(int i) {
    return kAll % Tile::kThreads == 0 || PixelOf(i) < Tile::kPixels;
  }

  /// Whether this step's numbers of pixel i are in the map; else they are zero.
  __device__ __forceinline__ bool IsThere(int i) const { return (taps_[i] & tap_) != 0; }
  /// Where they stand, if they do.
  __device__ __forceinline__ const In* At(int i) const { return corner_[i] + offset_; }
  __device__ __forceinline__ void Next() {
    channel_ += Tile::kDepth, offset_ += Tile::kDepth;
    Settle();
  }

 private:
  // Channels beyond a tap's last are the next tap's, as its pixel's numbers stand after this one's. Depths
  // are padded by less than there are bits for taps.
  __device__ __forceinline__ void Settle() {
    while (channel_ >= sizes_.in_channels) {
      channel_ -= sizes_.in_channels;
      tap_ <<= 1;
      if (++tap_x_ == sizes_.kernel) {
        tap_x_ = 0;
        offset_ += static_cast<int64_t>(sizes_.width - sizes_.kernel) * sizes_.in_channels;
      }
    }
  }

  const ConvSizes& sizes_;
  int channel_, tap_x_ = 0;
  uint32_t tap_ = 1;  // this step's, a bit
  int64_t offset_;    // of its numbers, from those of the first tap
  // Of each pixel: its first tap in the input, and which taps are in the map.
  const In* corner_[kLoads];
  uint32_t taps_[kLoads];
};

/// Where sums go: out [pixels, out_channels] = (sum + bias) + residual.
template <class Out>
struct ConvResults {
  const float* bias;    // [weight_columns]
  const Out* residual;  // like out, which it may be; or null
  bool wide;            // whether four channels of a pixel may be loaded and stored at once
  Out* out;

  /// Writes four neighbouring channels of a pixel, those that there are.
  __device__ __forceinline__ void Finish(const ConvSizes& sizes, int64_t pixel, int64_t channel,
                                         const float (&sums)[4]) const {
    if (pixel >= sizes.pixels) return;
    const int64_t at = pixel * sizes.out_channels + channel, left = sizes.out_channels - channel;
    float b[4];
    Load(bias + channel, b);
    if (wide && left > 0) {
      float results[4], before[4] = {};
      if (residual) Load(residual + at, before);
#pragma unroll
      for (int i = 0; i < 4; i++) results[i] = (sums[i] + b[i]) + before[i];
      Store(out + at, results);
      return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (i >= left) continue;
      const float before = residual ? Widen(residual[at + i]) : 0.0f;
      out[at + i] = Narrow<Out>((sums[i] + b[i]) + before);
    }
  }
};

}  // namespace bifrons::cuda
