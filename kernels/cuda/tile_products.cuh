// Products of rows with a matrix on tensor cores: bf16 operands, f32 sums. The matrix stands in memory in the
// order in which they take it, so that a lane's operand is one load of 16 bytes. Every sum's order is the
// matrix's alone; rows are columns of the tiles' products, and know nothing of each other.
#pragma once

#include "kernels/cuda/intrinsics.cuh"
#include "kernels/cuda/results.cuh"
#include "kernels/cuda/row_norm.cuh"

namespace bifrons::cuda {

/// Side of a tile of the matrix, and rows of x that one product of tiles takes.
constexpr int kTileSide = 16, kTileRows = 8;

/// A matrix as tiles [out / 16, depth, 32 lanes] of 16 × 16 numbers, of which a lane's eight stand together:
/// MultiplyTile's a, of which lane l has numbers 4 · (l % 4) … + 3 of rows l / 4 and l / 4 + 8. So x's share
/// of a lane, b, is four neighbours, too; a product of tiles does not mind which of its numbers is which. out
/// is a multiple of 32, so that gates and what they gate are whole tiles.
struct TileProduct {
  const uint4* weights;
  int64_t depth;  // tiles of a row
  int64_t in;
  RowNorm norm;  // of x; of DecodeTiles alone
  Results results;

  __device__ __forceinline__ const uint4* Tile(int64_t number) const {
    return weights + number * depth * kWarp + threadIdx.x % kWarp;
  }
  __host__ __device__ int64_t tiles() const { return results.out / kTileSide; }
  /// In turn come neighbours or, of kSiluMul, gates and what they gate.
  __device__ __forceinline__ int64_t TileInTurn(int64_t turn) const {
    return results.is_gated() ? turn / 2 + turn % 2 * (tiles() / 2) : turn;
  }
  /// The same in pairs.
  __device__ __forceinline__ int64_t pairs() const { return results.out / (2 * kTileSide); }
  __device__ __forceinline__ int64_t TileOfPair(int64_t pair, int which) const {
    return results.is_gated() ? pair + which * pairs() : 2 * pair + which;
  }
};

// ---- packing ----------------------------------------------------------------------------------------------

constexpr int kRepackThreads = 256;

/// tiles [out / 16, depth, 32] of rows [out, in]. A thread for each of a tile's lanes.
__global__ void __launch_bounds__(kRepackThreads)
    RepackTiles(const BF16* rows, int64_t out, int64_t in, int64_t depth, uint4* tiles) {
  const int64_t i = int64_t{blockIdx.x} * kRepackThreads + threadIdx.x;
  const int64_t tile = i / kWarp, lane = i % kWarp;
  if (tile >= out / kTileSide * depth) return;
  const int64_t row = tile / depth * kTileSide + lane / 4, first = tile % depth * kTileSide + lane % 4 * 4;
  const auto two = [&](int64_t r, int64_t k) {
    const BF16* at = rows + r * in + k;
    return uint32_t{at[0].bits} | uint32_t{at[1].bits} << 16;
  };
  tiles[i] = make_uint4(two(row, first), two(row + 8, first), two(row, first + 2), two(row + 8, first + 2));
}

/// to [rows, stride] = bf16 of x [rows, in], zeros beyond, each 16 in the order in which a tile has them:
/// 0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6 … A thread for each two of to's numbers.
__global__ void __launch_bounds__(kRepackThreads)
    RoundRows(const float* x, int64_t rows, int64_t in, int64_t stride, uint32_t* to) {
  const int64_t i = int64_t{blockIdx.x} * kRepackThreads + threadIdx.x;
  if (i >= rows * stride / 2) return;
  const int64_t row = 2 * i / stride, pair = i % 8;
  const int64_t k = 2 * i % stride - 2 * pair + pair % 4 * 4 + pair / 4 * 2;
  const float* at = x + row * in + k;
  to[i] = RoundPair(k < in ? at[0] : 0.0f, k + 1 < in ? at[1] : 0.0f);
}

// ---- many rows --------------------------------------------------------------------------------------------
// A block makes 128 columns of 64 rows, a warp 32 of 32. Tiles of both operands come in stages of two tiles'
// depth, the next two stages while one is multiplied.

constexpr int kPrefillTileThreads = 256, kPrefillRows = 64, kPrefillPairs = 4;
/// Tiles of depth in a stage: rows of x are this many tiles long, or a multiple.
constexpr int kStageDepth = 2;

/// A block for every kPrefillRows rows (x) and kPrefillPairs pairs of tiles (y). x [rows, stride] of bf16,
/// zeros beyond `in`, stride being the depth in whole stages.
__global__ void __launch_bounds__(kPrefillTileThreads, 2)
    PrefillTiles(const __grid_constant__ TileProduct p, const BF16* x, int64_t stride) {
  constexpr int kStages = 3, kTiles = 2 * kPrefillPairs;
  constexpr int kTileVectors = kTiles * kStageDepth * kWarp;  // 16 bytes each
  constexpr int kRowVectors = kStageDepth * 2;                // of a row
  SHARED_ARRAY(uint4, tiles, kStages * kTileVectors);         // [stage][tile][depth][lane]
  SHARED_ARRAY(uint4, rows, kStages * kPrefillRows * kRowVectors);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const int64_t first_row = int64_t{blockIdx.x} * kPrefillRows;
  const int64_t first_pair = int64_t{blockIdx.y} * kPrefillPairs;

  // Where 16 bytes of a row stand: eight rows' of one depth are in different banks.
  const auto place = [](int row, int vector) {
    return row * kRowVectors + (vector ^ (row / 2 % kRowVectors));
  };
  const auto bring = [&](int64_t step, int stage) {
#pragma unroll
    for (int i = 0; i < kTileVectors / kPrefillTileThreads; i++) {
      const int at = thread + i * kPrefillTileThreads, tile = at / (kStageDepth * kWarp);
      const int64_t depth = step * kStageDepth + at / kWarp % kStageDepth;
      const int64_t pair = min(first_pair + tile / 2, p.pairs() - 1);
      const bool there = depth < p.depth;
      CopyAsync(tiles + stage * kTileVectors + at,
                p.Tile(p.TileOfPair(pair, tile % 2)) + (there ? depth : 0) * kWarp, there);
    }
    const int row = thread / kRowVectors, vector = thread % kRowVectors;
    const bool there = first_row + row < p.results.rows;
    CopyAsync(rows + stage * kPrefillRows * kRowVectors + place(row, vector),
              x + (there ? first_row + row : 0) * stride + (step * kRowVectors + vector) * 8, there);
  };
  static_assert(kPrefillRows * kRowVectors == kPrefillTileThreads);

  // Of a warp: one pair of tiles, 32 rows.
  const int pair = warp % kPrefillPairs, warp_row = warp / kPrefillPairs * 32;
  float sums[2][4][4] = {};
  const int64_t steps = (p.depth + kStageDepth - 1) / kStageDepth;
#pragma unroll
  for (int stage = 0; stage < kStages - 1; stage++) {
    if (stage < steps) bring(stage, stage);
    GroupCopies();
  }
  for (int64_t step = 0; step < steps; step++) {
    WaitForCopies<kStages - 2>();
    __syncthreads();  // all copies of this stage are there, and the stage before has been used
    const int64_t next = step + kStages - 1;
    if (next < steps) bring(next, static_cast<int>(next % kStages));
    GroupCopies();
    const int stage = static_cast<int>(step % kStages);
    const uint4* const stage_rows = rows + stage * kPrefillRows * kRowVectors;
#pragma unroll
    for (int depth = 0; depth < kStageDepth; depth++) {
      uint4 a[2];
#pragma unroll
      for (int j = 0; j < 2; j++) {
        a[j] =
            LoadUint4(tiles + stage * kTileVectors + ((2 * pair + j) * kStageDepth + depth) * kWarp + lane);
      }
#pragma unroll
      for (int r = 0; r < 2; r++) {  // two tiles of rows at once
        const int row = warp_row + r * 16 + lane / 16 * 8 + lane % 8;
        const uint4 b = LoadMatrices(stage_rows + place(row, depth * 2 + lane / 8 % 2));
#pragma unroll
        for (int j = 0; j < 2; j++) {
          MultiplyTile(sums[j][2 * r], a[j], make_uint2(b.x, b.y));
          MultiplyTile(sums[j][2 * r + 1], a[j], make_uint2(b.z, b.w));
        }
      }
    }
  }
  const int64_t number = first_pair + pair;
  if (number >= p.pairs()) return;
  const bool gated = p.results.is_gated();
#pragma unroll
  for (int j = 0; j < 2; j++) {
    if (gated && j == 1) break;
#pragma unroll
    for (int r = 0; r < 4; r++) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int64_t row = first_row + warp_row + r * kTileRows + lane % 4 * 2 + i % 2;
        const int64_t column = (gated ? number : 2 * number + j) * kTileSide + lane / 4 + i / 2 * 8;
        p.results.Finish(row, column, sums[j][r][i], sums[1][r][i]);
      }
    }
  }
}

}  // namespace bifrons::cuda
