// Convolutions on tensor cores: bf16 map and weights, f32 sums. The weights' channels are the rows of the
// tiles' products and the pixels their columns, so that a lane's sums are neighbouring channels of a pixel.
#pragma once

#include "kernels/cuda/conv_patches.cuh"
#include "kernels/cuda/intrinsics.cuh"

namespace bifrons::cuda {

/// Channels whose weights stand together, as two tiles of 16; and terms of a tile.
constexpr int kConvGroup = 32, kConvTileTerms = 16;
/// A thread's load: of the input's channels, and of a lane's weights.
constexpr int kConvVector = 8;

/// Where the weight of an output channel and a term (a tap's input channel) stands among a convolution's,
/// which are [channels / 32, depth / 16, 2 tiles, 32 lanes, 8]: of a tile's 16 × 16 a lane's eight stand
/// together, as MultiplyTile takes them. Rows g and g + 8 of the two tiles are the channels 4 · g … 4 · g + 3
/// of the 32, so that a lane, which gets the sums of these rows, has four neighbours.
inline int64_t ConvWeightIndex(int64_t channel, int64_t term, int64_t depth) {
  const int64_t row = channel % 4 % 2, tile = channel % 4 / 2;  // row: 0: g, 1: g + 8
  const int64_t lane = channel % kConvGroup / 4 * 4 + term % 8 / 2;
  const int64_t word = row + term % kConvTileTerms / 8 * 2;
  const int64_t step = channel / kConvGroup * (depth / kConvTileTerms) + term / kConvTileTerms;
  return ((step * 2 + tile) * kWarp + lane) * kConvVector + word * 2 + term % 2;
}

/// A block's piece of the output: warps side by side along the channels and the pixels, each with kWarpGroups
/// groups of channels and 32 pixels; and the terms of a stage, in tiles.
template <int kChannelWarps, int kPixelWarps, int kGroupsOfWarp, int kTilesOfStage>
struct ConvStages {
  static constexpr int kThreads = kChannelWarps * kPixelWarps * kWarp;
  static constexpr int kAcross = kChannelWarps, kWarpGroups = kGroupsOfWarp, kWarpPixels = 32;
  static constexpr int kGroups = kChannelWarps * kWarpGroups, kChannels = kGroups * kConvGroup;
  static constexpr int kPixels = kPixelWarps * kWarpPixels;
  static constexpr int kTiles = kTilesOfStage, kDepth = kTiles * kConvTileTerms;
  static constexpr int kStages = 3;  // the next two come while one is multiplied
  // Of a multiprocessor, which leaves 128 registers to a thread.
  static constexpr int kBlocks = 512 / kThreads;
};
// Both take the 48 KiB of shared memory that every kernel may have: twice that fits a multiprocessor.
using LargeConvStages = ConvStages<2, 4, 2, 2>;  // 128 channels × 128 pixels: reads least
using SmallConvStages = ConvStages<2, 2, 1, 4>;  // 64 × 64, in half as many steps: for small maps

/// Block x makes channels x % n · Tile::kChannels … of pixels x / n · Tile::kPixels …, n being weight_columns
/// / Tile::kChannels: those that read the same pixels run side by side. sizes.in_channels is a multiple of 8;
/// `vectors`: 16 bytes of `in` may be copied at once.
template <class Out, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    ConvTilesKernel(const __grid_constant__ ConvSizes sizes, const BF16* in, bool vectors,
                    const uint4* weights, const __grid_constant__ ConvResults<Out> results) {
  using Walk = PatchWalk<BF16, kConvVector, Tile>;
  constexpr int kStages = Tile::kStages, kRowVectors = Tile::kTiles * 2;  // of a pixel, in a stage
  constexpr int kGroupVectors = Tile::kTiles * 2 * kWarp;  // of a group of channels, in a stage
  constexpr int kWeights = Tile::kGroups * kGroupVectors, kPatches = Tile::kPixels * kRowVectors;
  static_assert(kWeights % Tile::kThreads == 0 && kPatches % Tile::kThreads == 0);
  SHARED_ARRAY(uint4, stage_weights, kStages * kWeights);  // [stage][group][tile of terms][tile][lane]
  SHARED_ARRAY(uint4, stage_patches, kStages * kPatches);  // [stage][pixel][8 terms]
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const auto across = static_cast<unsigned>(sizes.weight_columns / Tile::kChannels);
  const int64_t first_pixel = int64_t{blockIdx.x / across} * Tile::kPixels;
  const int64_t first_group = int64_t{blockIdx.x % across} * Tile::kGroups;
  const auto steps = static_cast<int>(sizes.depth / Tile::kDepth);

  // Where eight terms of a pixel stand: those of eight neighbours are in different banks.
  const auto place = [](int pixel, int vector) {
    return pixel * kRowVectors + (vector ^ (pixel / (8 / kRowVectors) % kRowVectors));
  };
  Walk walk(sizes, in, first_pixel);
  const uint4* next_weights = weights + first_group * steps * kGroupVectors;
  const auto bring = [&](int stage) {
#pragma unroll
    for (int i = 0; i < kWeights / Tile::kThreads; i++) {
      const int at = thread + i * Tile::kThreads;
      CopyAsync(stage_weights + stage * kWeights + at,
                next_weights + int64_t{at / kGroupVectors} * steps * kGroupVectors + at % kGroupVectors,
                true);
    }
#pragma unroll
    for (int i = 0; i < Walk::kLoads; i++) {
      uint4* const to = stage_patches + stage * kPatches + place(Walk::PixelOf(i), Walk::Across());
      const bool there = walk.IsThere(i);
      if (vectors) {  // the next taps are the next pixels' numbers
        CopyAsyncCached(to, there ? walk.At(i) : in, there);
        continue;
      }
      uint32_t words[4] = {};
#pragma unroll
      for (int j = 0; j < kConvVector && there; j++)
        words[j / 2] |= static_cast<uint32_t>(walk.At(i)[j].bits) << 16 * (j % 2);
      StoreUint4(to, make_uint4(words[0], words[1], words[2], words[3]));
    }
    next_weights += kGroupVectors;
    walk.Next();
  };

  const int warp_group = warp % Tile::kAcross * Tile::kWarpGroups;
  const int warp_pixel = warp / Tile::kAcross * Tile::kWarpPixels;
  float sums[Tile::kWarpGroups][2][4][4] = {};  // [group][tile][eight pixels]
#pragma unroll
  for (int step = 0; step < kStages - 1; step++) {
    if (step < steps) bring(step);
    GroupCopies();
  }
  for (int step = 0; step < steps; step++) {
    WaitForCopies<kStages - 2>();
    __syncthreads();  // all copies of this stage are there, and the stage before has been used
    if (step + kStages - 1 < steps) bring((step + kStages - 1) % kStages);
    GroupCopies();
    const int stage = step % kStages;
    const uint4* const w = stage_weights + stage * kWeights + warp_group * kGroupVectors + lane;
    const uint4* const p = stage_patches + stage * kPatches;
#pragma unroll
    for (int terms = 0; terms < Tile::kTiles; terms++) {
      uint4 a[Tile::kWarpGroups][2];
#pragma unroll
      for (int i = 0; i < 2 * Tile::kWarpGroups; i++)
        a[i / 2][i % 2] = LoadUint4(w + i / 2 * kGroupVectors + (terms * 2 + i % 2) * kWarp);
#pragma unroll
      for (int r = 0; r < 2; r++) {  // two tiles of pixels at once
        const int pixel = warp_pixel + r * 16 + lane / 16 * 8 + lane % 8;
        const uint4 b = LoadMatrices(p + place(pixel, terms * 2 + lane / 8 % 2));
#pragma unroll
        for (int i = 0; i < 2 * Tile::kWarpGroups; i++) {
          MultiplyTile(sums[i / 2][i % 2][2 * r], a[i / 2][i % 2], make_uint2(b.x, b.y));
          MultiplyTile(sums[i / 2][i % 2][2 * r + 1], a[i / 2][i % 2], make_uint2(b.z, b.w));
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const int64_t pixel = first_pixel + warp_pixel + i / 2 * 8 + lane % 4 * 2 + i % 2;
#pragma unroll
    for (int group = 0; group < Tile::kWarpGroups; group++) {
      const float(&sum)[2][4][4] = sums[group];
      const float four[4] = {sum[0][i / 2][i % 2], sum[0][i / 2][2 + i % 2], sum[1][i / 2][i % 2],
                             sum[1][i / 2][2 + i % 2]};
      results.Finish(sizes, pixel, (first_group + warp_group + group) * kConvGroup + lane / 4 * 4, four);
    }
  }
}

}  // namespace bifrons::cuda
