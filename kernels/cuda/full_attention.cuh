// Attention among all rows on tensor cores: bf16 operands, f32 sums. Queries, keys and values are rounded
// once and stand by heads, so that a tile of them is one piece of memory; scores and weights never leave
// registers.
#pragma once

#include "kernels/cuda/intrinsics.cuh"
#include "kernels/cuda/loads.cuh"

namespace bifrons::cuda {

/// Numbers of a packed row: as many as a head has at most, zeros beyond those that it has.
constexpr int kPackedDim = 64;
/// Of a packed row, with 8 numbers each.
constexpr int kPackedVectors = kPackedDim / 8;

/// Rows that a block makes, 16 a warp; and positions of a tile of keys and values.
constexpr int kFullTile = 64;
constexpr int kFullThreads = kFullTile / 16 * kWarp;
/// Of a tile of rows.
constexpr int kFullTileVectors = kFullTile * kPackedVectors;

/// Queries, keys and values of bf16 [3, heads, tiles, kFullTile, kPackedDim], zeros beyond the rows.
struct PackedHeads {
  uint4* vectors;
  int64_t rows, heads, tiles;

  /// Queries (0), keys (1) or values (2) of a head.
  __device__ __forceinline__ uint4* Of(int64_t which, int64_t head) const {
    return vectors + (which * heads + head) * tiles * kFullTileVectors;
  }
};

constexpr int kPackThreads = 256;
/// Blocks for a tile of rows.
constexpr int kPackBlocks = kFullTileVectors / kPackThreads;

/// Packs q, k and v [rows, heads · dim] of the same stride. kPackBlocks blocks for every tile (x), for every
/// head (y), and for q, k and v (z); a thread for each vector. `aligned`: every head of every row to 16
/// bytes.
template <class T>
__global__ void __launch_bounds__(kPackThreads) PackHeads(const T* q, const T* k, const T* v, int64_t stride,
                                                          int64_t dim, bool aligned, const PackedHeads to) {
  const int64_t i = int64_t{blockIdx.x} * kPackThreads + threadIdx.x, head = blockIdx.y;
  const int64_t first = i % kPackedVectors * 8, row = i / kPackedVectors;
  const T* from = blockIdx.z == 0 ? q : blockIdx.z == 1 ? k : v;
  float numbers[8] = {};
  if (row < to.rows) LoadUpTo8(from + row * stride + head * dim + first, dim - first, aligned, numbers);
  Store(reinterpret_cast<BF16*>(to.Of(blockIdx.z, head) + i), numbers);
}

/// y [rows, heads · dim], each row seeing all; scores are scaled by `scale`. A block for every kFullTile rows
/// (x) and head (y). A row's weights are relative to the largest score so far, tile after tile.
template <class Y>
__global__ void __launch_bounds__(kFullThreads, 3)
    AttendAllTiles(const PackedHeads packed, int64_t dim, float scale, Y* y) {
  constexpr int kSteps = kPackedDim / 16, kSpanTiles = kFullTile / 8, kDimTiles = kPackedDim / 8;
  SHARED_ARRAY(uint4, stages, 2 * 2 * kFullTileVectors);  // [stage][keys, values][position][vector]
  SHARED_ARRAY(uint4, queries, kFullTileVectors);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const int group = lane / 4, two = lane % 4 * 2;
  const int64_t head = blockIdx.y, rows = packed.rows;
  const int64_t first_row = int64_t{blockIdx.x} * kFullTile + warp * 16 + group;  // and 8 more, of this lane

  // Where a vector of a row stands: those of eight rows are in different banks.
  const auto place = [](int row, int vector) {
    return row * kPackedVectors + (vector ^ (row % kPackedVectors));
  };
  // A thread's vectors of a tile are whole rows apart, eight or a multiple: so are their places.
  static_assert(kFullThreads % (8 * kPackedVectors) == 0);
  const int own = place(thread / kPackedVectors, thread % kPackedVectors);
  const auto bring = [&](int64_t which, int64_t tile, uint4* to) {
    const uint4* from = packed.Of(which, head) + tile * kFullTileVectors + thread;
#pragma unroll
    for (int i = 0; i < kFullTileVectors; i += kFullThreads) CopyAsync(to + own + i, from + i, true);
  };
  const auto bring_stage = [&](int64_t tile, int stage) {
    bring(1, tile, stages + 2 * stage * kFullTileVectors);
    bring(2, tile, stages + (2 * stage + 1) * kFullTileVectors);
    GroupCopies();
  };
  bring(0, blockIdx.x, queries);
  bring_stage(0, 0);

  // Of rows first_row and first_row + 8.
  float largest[2] = {-INFINITY, -INFINITY}, totals[2] = {};
  float mixed[kDimTiles][4] = {};
  for (int64_t tile = 0; tile < packed.tiles; tile++) {
    WaitForCopies<0>();
    __syncthreads();  // all copies of this stage are there, and the stage before has been used
    const int stage = static_cast<int>(tile % 2);
    if (tile + 1 < packed.tiles) bring_stage(tile + 1, 1 - stage);
    const uint4* const keys = stages + 2 * stage * kFullTileVectors;
    const uint4* const values = keys + kFullTileVectors;

    float scores[kSpanTiles][4] = {};
#pragma unroll
    for (int step = 0; step < kSteps; step++) {
      const uint4 query = LoadMatrices(queries + place(warp * 16 + lane % 16, step * 2 + lane / 16));
#pragma unroll
      for (int j = 0; j < kSpanTiles; j += 2) {
        const int position = j * 8 + lane / 16 * 8 + lane % 8;
        const uint4 b = LoadMatrices(keys + place(position, step * 2 + lane / 8 % 2));
        MultiplyTile(scores[j], query, make_uint2(b.x, b.y));
        MultiplyTile(scores[j + 1], query, make_uint2(b.z, b.w));
      }
    }

    // Four lanes have a row's scores.
    const auto left = static_cast<int>(min(rows - tile * kFullTile, static_cast<int64_t>(kFullTile)));
    float now_largest[2] = {largest[0], largest[1]};
#pragma unroll
    for (int j = 0; j < kSpanTiles; j++) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const bool there = j * 8 + two + i % 2 < left;
        scores[j][i] = there ? scores[j][i] * scale : -INFINITY;
        now_largest[i / 2] = fmaxf(now_largest[i / 2], scores[j][i]);
      }
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
      now_largest[r] = fmaxf(now_largest[r], ShuffleXor(now_largest[r], 1));
      now_largest[r] = fmaxf(now_largest[r], ShuffleXor(now_largest[r], 2));
      const float factor = Exp(largest[r] - now_largest[r]);
      largest[r] = now_largest[r];
      totals[r] *= factor;
#pragma unroll
      for (int j = 0; j < kDimTiles; j++) mixed[j][2 * r] *= factor, mixed[j][2 * r + 1] *= factor;
    }
#pragma unroll
    for (int j = 0; j < kSpanTiles; j++) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        scores[j][i] = Exp(scores[j][i] - largest[i / 2]);
        totals[i / 2] += scores[j][i];
      }
    }

    // Weights stand where an operand's numbers do.
#pragma unroll
    for (int step = 0; step < kSpanTiles / 2; step++) {
      const float(&low)[4] = scores[2 * step];
      const float(&high)[4] = scores[2 * step + 1];
      const uint4 weights = make_uint4(RoundPair(low[0], low[1]), RoundPair(low[2], low[3]),
                                       RoundPair(high[0], high[1]), RoundPair(high[2], high[3]));
#pragma unroll
      for (int j = 0; j < kDimTiles; j += 2) {
        const int position = step * 16 + lane % 16;
        const uint4 b = LoadMatricesTransposed(values + place(position, j + lane / 16));
        MultiplyTile(mixed[j], weights, make_uint2(b.x, b.y));
        MultiplyTile(mixed[j + 1], weights, make_uint2(b.z, b.w));
      }
    }
  }

#pragma unroll
  for (int r = 0; r < 2; r++) {
    totals[r] += ShuffleXor(totals[r], 1);
    totals[r] += ShuffleXor(totals[r], 2);
    const int64_t row = first_row + 8 * r;
    if (row >= rows) continue;
#pragma unroll
    for (int j = 0; j < kDimTiles; j++) {
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const int number = j * 8 + two + i;
        if (number < dim)
          y[(row * packed.heads + head) * dim + number] = Narrow<Y>(mixed[j][2 * r + i] / totals[r]);
      }
    }
  }
}

}  // namespace bifrons::cuda
