// Products of many rows with a matrix on tensor cores. Rows are rounded and packed first, in the order in
// which a lane takes them, as the matrix is. Every sum is that of the even tiles along the depth and that of
// the odd ones, each in order, whatever the block: rows know nothing of each other.
#pragma once

#include <algorithm>

#include "kernels/cuda/loads.cuh"
#include "kernels/cuda/tile_products.cuh"

namespace bifrons::cuda {

// ---- packing rows -----------------------------------------------------------------------------------------

/// Rows that are packed together: two products' of tiles.
constexpr int kRowsOfTiles = 2 * kTileRows;
constexpr int kRoundThreads = 256;

/// to [rows / 16, in / 16, 32 lanes] of x [rows, in], rounded to bf16: lane l has numbers 4 · (l % 4) … + 3
/// of rows l / 4 and l / 4 + 8, MultiplyTile's b of both. Zeros beyond the last row. A block for every eight
/// tiles along the depth (x) and 16 rows (y). `kAligned`: x to 16 bytes.
template <bool kAligned>
__global__ void __launch_bounds__(kRoundThreads)
    RoundRows(const float* x, int64_t rows, int64_t in, uint4* to) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t depth = in / kTileSide;
  const int64_t step = int64_t{blockIdx.x} * (kRoundThreads / kWarp) + threadIdx.x / kWarp;
  if (step >= depth) return;
  const int64_t row = int64_t{blockIdx.y} * kRowsOfTiles + lane / 4, k = step * kTileSide + lane % 4 * 4;
  float4 v[2];
#pragma unroll
  for (int i = 0; i < 2; i++) v[i] = LoadUpTo4(x + min(row + i * kTileRows, rows - 1) * in + k, 4, kAligned);
  if (row >= rows) v[0] = make_float4(0, 0, 0, 0);
  if (row + kTileRows >= rows) v[1] = make_float4(0, 0, 0, 0);
  StoreUint4(to + (blockIdx.y * depth + step) * kWarp + lane,
             make_uint4(RoundPair(v[0].x, v[0].y), RoundPair(v[0].z, v[0].w), RoundPair(v[1].x, v[1].y),
                        RoundPair(v[1].z, v[1].w)));
}

// ---- products ---------------------------------------------------------------------------------------------

/// A block's piece of the results: warps side by side along the columns and the rows, each with pairs of
/// tiles of the matrix and sixteens of rows, and twice that, for even and odd tiles of the depth. It comes in
/// stages of some tiles' depth, all but one on their way while one is multiplied.
template <int kColumnWarps, int kRowWarps, int kPairsOfWarp, int kSixteensOfWarp, int kStepsOfStage,
          int kStagesOfBlock, int kBlocksAtOnce>
struct PrefillBlock {
  static constexpr int kParts = 2, kAcross = kColumnWarps;
  static constexpr int kWarps = kColumnWarps * kRowWarps * kParts, kThreads = kWarps * kWarp;
  static constexpr int kWarpTiles = 2 * kPairsOfWarp, kWarpSixteens = kSixteensOfWarp;
  static constexpr int kPairs = kColumnWarps * kPairsOfWarp, kTiles = 2 * kPairs;
  static constexpr int kSixteens = kRowWarps * kWarpSixteens;
  static constexpr int kColumns = kTiles * kTileSide, kRows = kSixteens * kRowsOfTiles;
  static constexpr int kSteps = kStepsOfStage, kStages = kStagesOfBlock;
  static constexpr int kBlocks = kBlocksAtOnce;                  // of a multiprocessor, as registers go
  static constexpr int kChunks = (kTiles + kSixteens) * kSteps;  // of 16 bytes a lane, in a stage
  /// Of a row's sums: neighbouring rows' are in different banks.
  static constexpr int kStride = kColumns + 4;
  static constexpr size_t kShared =
      std::max<size_t>(size_t{kStages} * kChunks * kWarp * sizeof(uint4), size_t{kRows} * kStride * 4);
  static_assert(kSteps % kParts == 0 && kShared <= 96 << 10);  // what every GPU with tensor cores has
};
using LargePrefillBlock = PrefillBlock<2, 3, 2, 3, 2, 5, 1>;   // 128 columns × 144 rows: reads least
using MediumPrefillBlock = PrefillBlock<2, 2, 2, 2, 2, 8, 2>;  // 128 × 64
using SmallPrefillBlock = PrefillBlock<2, 2, 1, 2, 4, 6, 2>;   // 64 × 64
using ThinPrefillBlock = PrefillBlock<1, 4, 1, 1, 8, 4, 2>;    // 32 × 64: for few rows and columns

/// A block for every Block::kRows rows (x) and Block::kPairs pairs of tiles (y); Block::kShared bytes. x as
/// RoundRows packs it.
template <class Block>
__global__ void __launch_bounds__(Block::kThreads, Block::kBlocks)
    PrefillTiles(const __grid_constant__ TileProduct p, const uint4* x) {
  constexpr int kSteps = Block::kSteps, kStages = Block::kStages, kChunks = Block::kChunks;
  constexpr int kWarpTiles = Block::kWarpTiles, kWarpSixteens = Block::kWarpSixteens;
  DYNAMIC_SHARED(uint4, stages);  // [stage][tiles of the matrix, then sixteens of rows][step][lane]
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const int64_t first_row = int64_t{blockIdx.x} * Block::kRows;
  const int64_t first_pair = int64_t{blockIdx.y} * Block::kPairs;
  const Results& results = p.results;

  // What this warp brings of each stage; the next one's stands kSteps · kWarp behind.
  constexpr int kBrings = (kChunks + Block::kWarps - 1) / Block::kWarps;
  const uint4* from[kBrings];
  bool exists[kBrings];
#pragma unroll
  for (int i = 0; i < kBrings; i++) {
    const int piece = (warp + i * Block::kWarps) / kSteps, step = (warp + i * Block::kWarps) % kSteps;
    if (piece < Block::kTiles) {
      const int64_t tile = 2 * first_pair + piece;
      exists[i] = tile < p.tiles();
      from[i] = p.Tile(p.TileInTurn(exists[i] ? tile : piece % 2)) + step * kWarp;
    } else {
      const int64_t sixteen = int64_t{blockIdx.x} * Block::kSixteens + piece - Block::kTiles;
      exists[i] = piece < Block::kTiles + Block::kSixteens && sixteen * kRowsOfTiles < results.rows;
      from[i] = x + ((exists[i] ? sixteen : 0) * p.depth + step) * kWarp + lane;
    }
  }
  const auto depth = static_cast<int>(p.depth), steps = (depth + kSteps - 1) / kSteps;
  const auto bring = [&](int number) {
    uint4* const to = stages + number % kStages * kChunks * kWarp + thread;
#pragma unroll
    for (int i = 0; i < kBrings; i++) {
      const int chunk = warp + i * Block::kWarps;
      if (kChunks % Block::kWarps != 0 && chunk >= kChunks) break;
      const bool there = exists[i] && number * kSteps + chunk % kSteps < depth;
      CopyAsync(to + i * Block::kThreads, there ? from[i] : p.weights, there);
      from[i] += kSteps * kWarp;
    }
  };

  const int part = warp % Block::kParts, place = warp / Block::kParts;
  const int first_tile = place % Block::kAcross * kWarpTiles;
  const int first_sixteen = place / Block::kAcross * kWarpSixteens;
  float sums[kWarpTiles][2 * kWarpSixteens][4] = {};
#pragma unroll
  for (int stage = 0; stage < kStages - 1; stage++) {
    if (stage < steps) bring(stage);
    GroupCopies();
  }
  for (int number = 0; number < steps; number++) {
    WaitForCopies<kStages - 2>();
    __syncthreads();  // all copies of this stage are there, and the stage before has been used
    if (number + kStages - 1 < steps) bring(number + kStages - 1);
    GroupCopies();
    const uint4* const stage = stages + number % kStages * kChunks * kWarp + lane;
    const uint4* const tiles = stage + first_tile * kSteps * kWarp;
    const uint4* const rows = stage + (Block::kTiles + first_sixteen) * kSteps * kWarp;
#pragma unroll
    for (int i = 0; i < kSteps; i += Block::kParts) {
      uint4 a[kWarpTiles], b[kWarpSixteens];
#pragma unroll
      for (int j = 0; j < kWarpTiles; j++) a[j] = LoadUint4(tiles + (j * kSteps + i + part) * kWarp);
#pragma unroll
      for (int r = 0; r < kWarpSixteens; r++) b[r] = LoadUint4(rows + (r * kSteps + i + part) * kWarp);
#pragma unroll
      for (int r = 0; r < kWarpSixteens; r++) {
#pragma unroll
        for (int j = 0; j < kWarpTiles; j++) {
          MultiplyTile(sums[j][2 * r], a[j], make_uint2(b[r].x, b[r].y));
          MultiplyTile(sums[j][2 * r + 1], a[j], make_uint2(b[r].z, b[r].w));
        }
      }
    }
  }

  // Both parts' sums, where the stages were; then whole lines of results.
  auto* const shares = reinterpret_cast<float*>(stages);  // [row][column]
  constexpr int kStride = Block::kStride;
#pragma unroll
  for (int turn = Block::kParts - 1; turn >= 0; turn--) {
    __syncthreads();  // the stages have been used, or the odd tiles' sums are there
    if (part != turn) continue;
    float* const to =
        shares + (first_sixteen * kRowsOfTiles + lane % 4 * 2) * kStride + first_tile * kTileSide + lane / 4;
#pragma unroll
    for (int j = 0; j < kWarpTiles; j++) {
#pragma unroll
      for (int r = 0; r < 2 * kWarpSixteens; r++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
          float* const at = to + (r * kTileRows + i % 2) * kStride + j * kTileSide + i / 2 * 8;
          *at = turn == 0 ? sums[j][r][i] + *at : sums[j][r][i];
        }
      }
    }
  }
  __syncthreads();
  const bool gated = results.is_gated();
  constexpr int kColumns = Block::kColumns, kGated = kColumns / 2;
  const int across = gated ? thread % kGated : thread % kColumns;
  const int down = gated ? thread / kGated : thread / kColumns;
  const int rows_at_once = Block::kThreads / (gated ? kGated : kColumns);
  const int64_t width = results.width();
  const int64_t column = first_pair * (gated ? kTileSide : 2 * kTileSide) + across;
  if (column >= width) return;
  const float bias = results.BiasOf(column), gated_bias = results.BiasOf(width + column);
  const float* const share =
      shares + (gated ? across / kTileSide * 2 * kTileSide + across % kTileSide : across);
  const auto left = static_cast<int>(min(results.rows - first_row, int64_t{Block::kRows}));
  float* const y = results.y + first_row * width + column;
  if (results.epilogue == Epilogue::kAdd) {  // what is added to comes together, before anything is written
    constexpr int kEach = Block::kRows * Block::kColumns / Block::kThreads;
    constexpr int kAtOnce = kEach % 16 == 0 ? 16 : kEach;
    for (int first = down; first < left; first += kAtOnce * rows_at_once) {
      float old[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; i++) old[i] = y[min(first + i * rows_at_once, left - 1) * width];
#pragma unroll
      for (int i = 0; i < kAtOnce; i++) {
        const int row = first + i * rows_at_once;
        if (row < left) y[row * width] = old[i] + (share[row * kStride] + bias);
      }
    }
    return;
  }
#pragma unroll 4
  for (int row = down; row < left; row += rows_at_once) {
    const float* const at = share + row * kStride;
    y[row * width] = results.Of(at[0] + bias, (gated ? at[kTileSide] : 0.0f) + gated_bias, 0);
  }
}

}  // namespace bifrons::cuda
