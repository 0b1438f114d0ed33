// Attention among all rows on tensor cores: bf16 queries, keys and values, f32 sums. They are rounded
// once and stand by heads, so that a tile of them is one piece of memory; scores and weights never leave
// registers.
#pragma once

#include "kernels/cuda/intrinsics.cuh"
#include "kernels/cuda/loads.cuh"

namespace bifrons::cuda {

/// Numbers of a packed row: a part of a head, zeros beyond the head's last.
constexpr int kPackedDim = 64;
/// Of a packed row, with 8 numbers each.
constexpr int kPackedVectors = kPackedDim / 8;

/// Rows that a block makes, 16 a warp; and positions of a tile of keys and values.
constexpr int kFullTile = 64;
constexpr int kFullThreads = kFullTile / 16 * kWarp;
/// Of a tile of rows.
constexpr int kFullTileVectors = kFullTile * kPackedVectors;

/// Queries, keys and values of bf16 [3, heads, parts, tiles, kFullTile, kPackedDim], zeros beyond the rows.
struct PackedHeads {
  uint4* vectors;
  int64_t rows, heads, parts, tiles;

  /// Queries (0), keys (1) or values (2) of a part of a head.
  __device__ __forceinline__ uint4* Of(int64_t which, int64_t head, int64_t part) const {
    return vectors + ((which * heads + head) * parts + part) * tiles * kFullTileVectors;
  }
};

constexpr int kPackThreads = 256;
/// Blocks for a tile of rows.
constexpr int kPackBlocks = kFullTileVectors / kPackThreads;

/// Packs q, k and v [rows, heads · dim] of the same stride. kPackBlocks blocks for every tile (x), for every
/// part of every head (y), and for q, k and v (z); a thread for each vector. `aligned`: every head of every
/// row to 16 bytes.
template <class T>
__global__ void __launch_bounds__(kPackThreads) PackHeads(const T* q, const T* k, const T* v, int64_t stride,
                                                          int64_t dim, bool aligned, const PackedHeads to) {
  const int64_t i = int64_t{blockIdx.x} * kPackThreads + threadIdx.x, row = i / kPackedVectors;
  const int64_t head = blockIdx.y / to.parts, part = blockIdx.y % to.parts;
  const int64_t first = part * kPackedDim + i % kPackedVectors * 8;
  const T* from = blockIdx.z == 0 ? q : blockIdx.z == 1 ? k : v;
  float numbers[8] = {};
  if (row < to.rows) LoadUpTo8(from + row * stride + head * dim + first, dim - first, aligned, numbers);
  Store(reinterpret_cast<BF16*>(to.Of(blockIdx.z, head, part) + i), numbers);
}

/// Where a vector of a tile's row stands in shared memory: those of eight rows are in different banks.
__device__ __forceinline__ int FullPlace(int row, int vector) {
  return row * kPackedVectors + (vector ^ (row % kPackedVectors));
}

/// Starts to copy a tile of rows to shared memory.
__device__ __forceinline__ void BringFullTile(const uint4* tile, uint4* to) {
  // A thread's vectors are whole rows apart, eight or a multiple: so are their places.
  static_assert(kFullThreads % (8 * kPackedVectors) == 0);
  const auto thread = static_cast<int>(threadIdx.x);
  const int own = FullPlace(thread / kPackedVectors, thread % kPackedVectors);
#pragma unroll
  for (int i = 0; i < kFullTileVectors; i += kFullThreads) CopyAsync(to + own + i, tile + thread + i, true);
}

/// What a lane has of its warp's 16 rows and a tile of positions, as products leave it: of rows lane / 4 and
/// 8 more, of positions 2 · (lane % 4) and the next of every eight.
using FullScores = float[kFullTile / 8][4];

/// scores += queries · keys, tiles in shared memory.
__device__ __forceinline__ void AddScores(const uint4* queries, const uint4* keys, FullScores& scores) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
#pragma unroll
  for (int step = 0; step < kPackedDim / 16; step++) {
    const uint4 query = LoadMatrices(queries + FullPlace(warp * 16 + lane % 16, step * 2 + lane / 16));
#pragma unroll
    for (int j = 0; j < kFullTile / 8; j += 2) {
      const int position = j * 8 + lane / 16 * 8 + lane % 8;
      const uint4 b = LoadMatrices(keys + FullPlace(position, step * 2 + lane / 8 % 2));
      MultiplyTile(scores[j], query, make_uint2(b.x, b.y));
      MultiplyTile(scores[j + 1], query, make_uint2(b.z, b.w));
    }
  }
}

/// Values mixed by the weights of a warp's rows, relative to the largest score so far, tile after tile. A
/// weight is the sum of kTerms numbers of bf16: one rounds it, three hold all bits of f32.
template <int kTerms>
class FullMix {
 public:
  /// Joins a tile of positions, of which `left` are there; scores become weights.
  __device__ __forceinline__ void Add(FullScores& scores, float scale, int64_t left, const uint4* values) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, two = lane % 4 * 2;
    // Four lanes have a row's scores.
    float now_largest[2] = {largest_[0], largest_[1]};
#pragma unroll
    for (int j = 0; j < kFullTile / 8; j++) {
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
      const float factor = Exp(largest_[r] - now_largest[r]);
      largest_[r] = now_largest[r];
      totals_[r] *= factor;
#pragma unroll
      for (int j = 0; j < kDimTiles; j++) mixed_[j][2 * r] *= factor, mixed_[j][2 * r + 1] *= factor;
    }
#pragma unroll
    for (int j = 0; j < kFullTile / 8; j++) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        scores[j][i] = Exp(scores[j][i] - largest_[i / 2]);
        totals_[i / 2] += scores[j][i];
      }
    }

    // Weights stand where an operand's numbers do.
#pragma unroll
    for (int step = 0; step < kFullTile / 16; step++) {
      uint4 b[kDimTiles / 2];
#pragma unroll
      for (int j = 0; j < kDimTiles / 2; j++)
        b[j] = LoadMatricesTransposed(values + FullPlace(step * 16 + lane % 16, 2 * j + lane / 16));
      float(&low)[4] = scores[2 * step];
      float(&high)[4] = scores[2 * step + 1];
#pragma unroll
      for (int term = 0; term < kTerms; term++) {
        const uint4 weights = make_uint4(TakePair(low[0], low[1]), TakePair(low[2], low[3]),
                                         TakePair(high[0], high[1]), TakePair(high[2], high[3]));
#pragma unroll
        for (int j = 0; j < kDimTiles / 2; j++) {
          MultiplyTile(mixed_[2 * j], weights, make_uint2(b[j].x, b[j].y));
          MultiplyTile(mixed_[2 * j + 1], weights, make_uint2(b[j].z, b[j].w));
        }
      }
    }
  }

  /// Writes the block's rows from first_row on, of `rows`: of each `dim` numbers at y + row · stride.
  template <class Y>
  __device__ __forceinline__ void Finish(int64_t first_row, int64_t rows, int64_t stride, int64_t dim, Y* y) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
#pragma unroll
    for (int r = 0; r < 2; r++) {
      totals_[r] += ShuffleXor(totals_[r], 1);
      totals_[r] += ShuffleXor(totals_[r], 2);
      const float part = 1.0f / totals_[r];
      const int64_t row = first_row + warp * 16 + lane / 4 + 8 * r;
      if (row >= rows) continue;
#pragma unroll
      for (int j = 0; j < kDimTiles; j++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
          const int number = j * 8 + lane % 4 * 2 + i;
          if (number < dim) y[row * stride + number] = Narrow<Y>(mixed_[j][2 * r + i] * part);
        }
      }
    }
  }

 private:
  // Rounds two numbers to bf16, and leaves what that loses, which f32 holds.
  __device__ __forceinline__ static uint32_t TakePair(float& low, float& high) {
    const uint32_t pair = RoundPair(low, high);
    low -= LowBf16(pair), high -= HighBf16(pair);
    return pair;
  }

  static constexpr int kDimTiles = kPackedDim / 8;
  // Of rows lane / 4 and 8 more.
  float largest_[2] = {-INFINITY, -INFINITY}, totals_[2] = {};
  float mixed_[kDimTiles][4] = {};
};

/// y [rows, heads · dim], each row seeing all, of heads that are one part; scores are scaled by `scale` and
/// weights of kTerms numbers. A block for every kFullTile rows (x) and head (y).
template <class Y, int kTerms>
__global__ void __launch_bounds__(kFullThreads, 3)
    AttendAllTiles(const PackedHeads packed, int64_t dim, float scale, Y* y) {
  SHARED_ARRAY(uint4, stages, 2 * 2 * kFullTileVectors);  // [stage][keys, values][position][vector]
  SHARED_ARRAY(uint4, queries, kFullTileVectors);
  const int64_t head = blockIdx.y;
  const auto bring_stage = [&](int64_t tile, int stage) {
    uint4* const to = stages + 2 * stage * kFullTileVectors;
    BringFullTile(packed.Of(1, head, 0) + tile * kFullTileVectors, to);
    BringFullTile(packed.Of(2, head, 0) + tile * kFullTileVectors, to + kFullTileVectors);
    GroupCopies();
  };
  BringFullTile(packed.Of(0, head, 0) + blockIdx.x * kFullTileVectors, queries);
  bring_stage(0, 0);

  FullMix<kTerms> mix;
  for (int64_t tile = 0; tile < packed.tiles; tile++) {
    WaitForCopies<0>();
    __syncthreads();  // all copies of this stage are there, and the stage before has been used
    const int stage = static_cast<int>(tile % 2);
    if (tile + 1 < packed.tiles) bring_stage(tile + 1, 1 - stage);
    const uint4* const keys = stages + 2 * stage * kFullTileVectors;
    FullScores scores = {};
    AddScores(queries, keys, scores);
    mix.Add(scores, scale, packed.rows - tile * kFullTile, keys + kFullTileVectors);
  }
  mix.Finish(int64_t{blockIdx.x} * kFullTile, packed.rows, packed.heads * dim, dim, y + head * dim);
}

// Heads of several parts: their scores are summed over the parts by one launch, and each part's values mixed
// by a block of another.

/// Of a tile of rows and one of positions, [eight positions][thread]: FullScores of each thread.
constexpr int kScoreVectors = kFullTile / 8 * kFullThreads;

/// scores [heads, tiles of rows, tiles of positions, kScoreVectors]. A block for every tile of rows (x), of
/// positions (y) and head (z).
__global__ void __launch_bounds__(kFullThreads, 3) ScoreTiles(const PackedHeads packed, float4* scores) {
  constexpr int kStages = 3;
  SHARED_ARRAY(uint4, stages, kStages * 2 * kFullTileVectors);  // [stage][queries, keys][row][vector]
  const int64_t head = blockIdx.z;
  const auto bring_stage = [&](int64_t part) {
    uint4* const to = stages + part % kStages * 2 * kFullTileVectors;
    if (part < packed.parts) {
      BringFullTile(packed.Of(0, head, part) + blockIdx.x * kFullTileVectors, to);
      BringFullTile(packed.Of(1, head, part) + blockIdx.y * kFullTileVectors, to + kFullTileVectors);
    }
    GroupCopies();
  };
  for (int part = 0; part < kStages - 1; part++) bring_stage(part);
  FullScores sums = {};
  for (int64_t part = 0; part < packed.parts; part++) {
    WaitForCopies<kStages - 2>();
    __syncthreads();  // as above
    bring_stage(part + kStages - 1);
    const uint4* const queries = stages + part % kStages * 2 * kFullTileVectors;
    AddScores(queries, queries + kFullTileVectors, sums);
  }
  const int64_t tile = (head * packed.tiles + blockIdx.x) * packed.tiles + blockIdx.y;
  float4* const to = scores + tile * kScoreVectors + threadIdx.x;
#pragma unroll
  for (int j = 0; j < kFullTile / 8; j++)
    to[j * kFullThreads] = make_float4(sums[j][0], sums[j][1], sums[j][2], sums[j][3]);
}

/// y as AttendAllTiles makes it, of what ScoreTiles made. A block for every tile of rows (x), part (y) and
/// head (z).
template <class Y, int kTerms>
__global__ void __launch_bounds__(kFullThreads, 2)
    MixTiles(const PackedHeads packed, const float4* scores, int64_t dim, float scale, Y* y) {
  constexpr int kStages = 3;
  SHARED_ARRAY(uint4, stages, kStages * kFullTileVectors);  // values [stage][position][vector]
  const int64_t part = blockIdx.y, head = blockIdx.z;
  const auto bring_stage = [&](int64_t tile) {
    if (tile < packed.tiles)
      BringFullTile(packed.Of(2, head, part) + tile * kFullTileVectors,
                    stages + tile % kStages * kFullTileVectors);
    GroupCopies();
  };
  const float4* const of_rows =
      scores + (head * packed.tiles + blockIdx.x) * packed.tiles * kScoreVectors + threadIdx.x;
  float4 next[kFullTile / 8];
  const auto load_scores = [&](int64_t tile) {
#pragma unroll
    for (int j = 0; j < kFullTile / 8; j++)
      next[j] = of_rows[min(tile, packed.tiles - 1) * kScoreVectors + j * kFullThreads];
  };
  load_scores(0);
  for (int tile = 0; tile < kStages - 1; tile++) bring_stage(tile);

  FullMix<kTerms> mix;
  for (int64_t tile = 0; tile < packed.tiles; tile++) {
    FullScores now;
#pragma unroll
    for (int j = 0; j < kFullTile / 8; j++)
      now[j][0] = next[j].x, now[j][1] = next[j].y, now[j][2] = next[j].z, now[j][3] = next[j].w;
    load_scores(tile + 1);  // under way while this tile is mixed
    WaitForCopies<kStages - 2>();
    __syncthreads();  // as above
    bring_stage(tile + kStages - 1);
    mix.Add(now, scale, packed.rows - tile * kFullTile, stages + tile % kStages * kFullTileVectors);
  }
  mix.Finish(int64_t{blockIdx.x} * kFullTile, packed.rows, packed.heads * dim, dim - part * kPackedDim,
             y + head * dim + part * kPackedDim);
}

}  // namespace bifrons::cuda
