// Convolutions by fused multiply-adds, of every type on every GPU: a block unfolds its patches into shared
// memory tile by tile.
#pragma once

#include "kernels/cuda/conv_patches.cuh"

namespace bifrons::cuda {

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
  using Walk = PatchWalk<In, kCount, Tile>;
  static constexpr int kLoads = Walk::kLoads;

  __device__ __forceinline__ PatchLoader(const ConvSizes& sizes, const In* in, int64_t first_pixel)
      : walk_(sizes, in, first_pixel) {}

  /// The numbers of this step, and on to the next.
  __device__ __forceinline__ void Next(float (&numbers)[kLoads][kCount]) {
#pragma unroll
    for (int i = 0; i < kLoads; i++) {
#pragma unroll
      for (int j = 0; j < kCount; j++) numbers[i][j] = 0;
      if (walk_.IsThere(i)) Load(walk_.At(i), numbers[i]);
    }
    walk_.Next();
  }

  /// Into patches [kDepth][row], transposed.
  __device__ __forceinline__ void Put(const float (&numbers)[kLoads][kCount], float* patches, int row) const {
    const int term = Walk::Across() * kCount;
#pragma unroll
    for (int i = 0; i < kLoads; i++) {
      if (!Walk::InTile(i)) continue;
#pragma unroll
      for (int j = 0; j < kCount; j++) patches[(term + j) * row + Walk::PixelOf(i)] = numbers[i][j];
    }
  }

 private:
  Walk walk_;
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

/// Block (x, y) makes tile x of the pixels and tile y of the channels; weight [depth, weight_columns].
/// kCount: of in's numbers at once.
template <class In, class Weight, class Out, int kCount, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    ConvKernel(const __grid_constant__ ConvSizes sizes, const In* in, const Weight* weight,
               const __grid_constant__ ConvResults<Out> results) {
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
#pragma unroll
    for (int j = 0; j < Tile::kThreadChannels; j += 4) {
      const float four[4] = {sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3]};
      results.Finish(sizes, pixel, first_channel + j * Tile::kAcross + across * 4, four);
    }
  }
}

}  // namespace bifrons::cuda
