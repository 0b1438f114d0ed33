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
/// groups of channels and kWarpPixels pixels; the terms of a stage, in tiles, which warps of the same piece
/// share; and how many blocks a multiprocessor is to have room for.
template <int kChannelWarps, int kPixelWarps, int kTermWarps, int kGroupsOfWarp, int kPixelsOfWarp,
          int kTilesOfStage, int kBlocksAtOnce>
struct ConvStages {
  static constexpr int kThreads = kChannelWarps * kPixelWarps * kTermWarps * kWarp;
  static constexpr int kAcross = kChannelWarps, kDown = kPixelWarps, kShares = kTermWarps;
  static constexpr int kWarpGroups = kGroupsOfWarp, kWarpPixels = kPixelsOfWarp;
  static constexpr int kGroups = kChannelWarps * kWarpGroups, kChannels = kGroups * kConvGroup;
  static constexpr int kPixels = kPixelWarps * kWarpPixels;
  static constexpr int kTiles = kTilesOfStage, kDepth = kTiles * kConvTileTerms;
  static constexpr int kStages = 3;  // the next two come while one is multiplied
  static constexpr int kBlocks = kBlocksAtOnce;
  static_assert(kTiles % kShares == 0);
};
// The first two take the 48 KiB of shared memory that every kernel may have: twice that fits a
// multiprocessor.
using LargeConvStages = ConvStages<2, 2, 1, 2, 64, 2, 2>;  // 128 channels × 128 pixels: reads least
using SmallConvStages = ConvStages<1, 2, 4, 2, 32, 4, 2>;  // 64 × 64, twice the warps: for small maps
using ThinConvStages = ConvStages<1, 4, 1, 1, 32, 2, 4>;   // 32 × 128: for pictures

/// Joins the sums of the Tile::kShares warps that share a piece, in their order: a warp gets those of one
/// tile of eight pixels, its share's. `room`: Tile::kPixels · kChannels · (kShares − 1) / kShares floats.
template <class Tile>
__device__ __forceinline__ void JoinShares(float4* room, int piece, int share,
                                           float (&sums)[Tile::kWarpGroups][2][Tile::kWarpPixels / 8][4]) {
  constexpr int kShares = Tile::kShares, kParts = 2 * Tile::kWarpGroups;
  static_assert(kShares == Tile::kWarpPixels / 8);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  // Of the other shares of a piece's tile, in order.
  const auto place = [=](int tile, int from) {
    return (((piece * kShares + tile) * (kShares - 1) + from - (from > tile)) * kParts) * kWarp + lane;
  };
  __syncthreads();  // the last stage has been used
#pragma unroll
  for (int tile = 0; tile < kShares; tile++) {
    if (tile == share) continue;
#pragma unroll
    for (int i = 0; i < kParts; i++) {
      const float(&four)[4] = sums[i / 2][i % 2][tile];
      room[place(tile, share) + i * kWarp] = make_float4(four[0], four[1], four[2], four[3]);
    }
  }
  __syncthreads();
#pragma unroll
  for (int tile = 0; tile < kShares; tile++) {
    if (tile != share) continue;
#pragma unroll
    for (int i = 0; i < kParts; i++) {
      float(&own)[4] = sums[i / 2][i % 2][tile];
      float total[4] = {};
#pragma unroll
      for (int from = 0; from < kShares; from++) {
        float four[4] = {own[0], own[1], own[2], own[3]};
        if (from != tile) Load(reinterpret_cast<const float*>(room + place(tile, from) + i * kWarp), four);
#pragma unroll
        for (int j = 0; j < 4; j++) total[j] += four[j];
      }
#pragma unroll
      for (int j = 0; j < 4; j++) own[j] = total[j];
    }
  }
}

/// Block x makes channels x % n · Tile::kChannels … of pixels x / n · Tile::kPixels …, n being
/// Tile::kChannels in out_channels, rounded up: those that read the same pixels run side by side.
/// sizes.in_channels is a multiple of 8; kVectors: 16 bytes of `in` may be copied at once.
template <class Out, class Tile, bool kVectors>
__global__ void __launch_bounds__(Tile::kThreads, kVectors ? Tile::kBlocks : 1)
    ConvTilesKernel(const __grid_constant__ ConvSizes sizes, const BF16* in, const uint4* weights,
                    const __grid_constant__ ConvResults<Out> results) {
  using Walk = PatchWalk<BF16, kConvVector, Tile>;
  constexpr int kStages = Tile::kStages, kRowVectors = Tile::kTiles * 2;  // of a pixel, in a stage
  constexpr int kGroupVectors = Tile::kTiles * 2 * kWarp;  // of a group of channels, in a stage
  constexpr int kWeights = Tile::kGroups * kGroupVectors, kPatches = Tile::kPixels * kRowVectors;
  static_assert(kGroupVectors % Tile::kThreads == 0 && kPatches % Tile::kThreads == 0);
  // [stage]: weights [group][tile of terms][tile][lane], patches [pixel][8 terms].
  constexpr int kStage = kWeights + kPatches;
  SHARED_ARRAY(uint4, stages, kStages * kStage);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const auto across = static_cast<unsigned>((sizes.out_channels + Tile::kChannels - 1) / Tile::kChannels);
  const int64_t first_pixel = int64_t{blockIdx.x / across} * Tile::kPixels;
  const int64_t first_group = int64_t{blockIdx.x % across} * Tile::kGroups;
  const auto steps = static_cast<int>(sizes.depth / Tile::kDepth);

  // Where eight terms of a pixel stand: those of eight neighbours are in different banks.
  const auto place = [](int pixel, int vector) {
    return pixel * kRowVectors + (vector ^ (pixel / (8 / kRowVectors) % kRowVectors));
  };
  Walk walk(sizes, in, first_pixel);
  const int64_t group_vectors = int64_t{steps} * kGroupVectors;
  const uint4* next_weights = weights + first_group * group_vectors + thread;
  const auto bring = [&](int stage) {
    uint4* const to_weights = stages + stage * kStage + thread;
#pragma unroll
    for (int i = 0; i < kWeights / Tile::kThreads; i++) {
      constexpr int kOfGroup = kGroupVectors / Tile::kThreads;
      CopyAsync(to_weights + i * Tile::kThreads,
                next_weights + i / kOfGroup * group_vectors + i % kOfGroup * Tile::kThreads, true);
    }
    uint4* const to_patches = stages + stage * kStage + kWeights;
#pragma unroll
    for (int i = 0; i < Walk::kLoads; i++) {
      uint4* const to = to_patches + place(Walk::PixelOf(i), Walk::Across());
      const bool there = walk.IsThere(i);
      if constexpr (kVectors) {  // the next taps are the next pixels' numbers
        CopyAsyncCached(to, walk.At(i), there);
      } else {
        uint32_t words[4] = {};
#pragma unroll
        for (int j = 0; j < kConvVector && there; j++)
          words[j / 2] |= static_cast<uint32_t>(walk.At(i)[j].bits) << 16 * (j % 2);
        StoreUint4(to, make_uint4(words[0], words[1], words[2], words[3]));
      }
    }
    next_weights += kGroupVectors;
    walk.Next();
  };

  // Warps of a piece take the tiles of a stage in turn.
  constexpr int kPairs = Tile::kWarpPixels / 16, kTurns = Tile::kTiles / Tile::kShares;
  const int share = warp % Tile::kShares, piece = warp / Tile::kShares;
  const int warp_group = piece % Tile::kAcross * Tile::kWarpGroups;
  const int warp_pixel = piece / Tile::kAcross * Tile::kWarpPixels;
  float sums[Tile::kWarpGroups][2][2 * kPairs][4] = {};  // [group][tile][eight pixels]
  // Operands of two turns: the next are loaded before these are multiplied.
  uint4 a[2][Tile::kWarpGroups][2], b[2][kPairs];
  const auto load = [&](int stage, int turn) {
    const int terms = turn * Tile::kShares + share;
    const uint4* const w = stages + stage * kStage + warp_group * kGroupVectors + terms * 2 * kWarp + lane;
#pragma unroll
    for (int i = 0; i < 2 * Tile::kWarpGroups; i++)
      a[turn % 2][i / 2][i % 2] = LoadUint4(w + i / 2 * kGroupVectors + i % 2 * kWarp);
#pragma unroll
    for (int r = 0; r < kPairs; r++) {  // two tiles of pixels at once
      const int pixel = warp_pixel + r * 16 + lane / 16 * 8 + lane % 8;
      b[turn % 2][r] =
          LoadMatrices(stages + stage * kStage + kWeights + place(pixel, terms * 2 + lane / 8 % 2));
    }
  };
#pragma unroll
  for (int step = 0; step < kStages - 1; step++) {
    if (step < steps) bring(step);
    GroupCopies();
  }
  for (int step = 0; step < steps; step++) {
    WaitForCopies<kStages - 2>();
    __syncthreads();  // all copies of this stage are there, and the stage before has been used
    const int stage = static_cast<int>(static_cast<unsigned>(step) % kStages);
    if constexpr (kVectors) load(stage, 0);
    if (step + kStages - 1 < steps) bring(stage == 0 ? kStages - 1 : stage - 1);
    GroupCopies();
    if constexpr (!kVectors) load(stage, 0);  // numbers one by one take the operands' registers
#pragma unroll
    for (int turn = 0; turn < kTurns; turn++) {
      if (turn + 1 < kTurns) load(stage, turn + 1);
#pragma unroll
      for (int r = 0; r < kPairs; r++) {
        const uint4 two = b[turn % 2][r];
#pragma unroll
        for (int i = 0; i < 2 * Tile::kWarpGroups; i++) {
          MultiplyTile(sums[i / 2][i % 2][2 * r], a[turn % 2][i / 2][i % 2], make_uint2(two.x, two.y));
          MultiplyTile(sums[i / 2][i % 2][2 * r + 1], a[turn % 2][i / 2][i % 2], make_uint2(two.z, two.w));
        }
      }
    }
  }
  if constexpr (Tile::kShares > 1) JoinShares<Tile>(reinterpret_cast<float4*>(stages), piece, share, sums);
#pragma unroll
  for (int i = 0; i < 4 * kPairs; i++) {
    if (Tile::kShares > 1 && i / 2 != share) continue;
    const int64_t pixel = first_pixel + warp_pixel + i / 2 * 8 + lane % 4 * 2 + i % 2;
#pragma unroll
    for (int group = 0; group < Tile::kWarpGroups; group++) {
      const auto& sum = sums[group];
      const float four[4] = {sum[0][i / 2][i % 2], sum[0][i / 2][2 + i % 2], sum[1][i / 2][i % 2],
                             sum[1][i / 2][2 + i % 2]};
      results.Finish(sizes, pixel, (first_group + warp_group + group) * kConvGroup + lane / 4 * 4, four);
    }
  }
}

}  // namespace bifrons::cuda
