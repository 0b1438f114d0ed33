// Products of few rows with a matrix on tensor cores. The warps of a block share its tiles' depth, tile by
// tile in turns; their sums are added up in the end, in order. Nothing stands between a lane and what it
// multiplies: its share of the matrix and of x comes to its registers by loads of 16 bytes that depend on
// nothing, some steps before they are used, so that as many are under way as memory needs.
#pragma once

#include "kernels/cuda/tile_products.cuh"

namespace bifrons::cuda {

constexpr int kDecodeTileThreads = 256;

/// Shapes of a block: rows in tiles of 8, columns in tiles of 16, and steps of depth that are under way. A
/// block of few columns makes many blocks, one of many reads x less often.
template <int kRowTilesOfBlock, int kTilesOfBlock, int kStepsAhead>
struct DecodeBlock {
  static constexpr int kRowTiles = kRowTilesOfBlock, kTiles = kTilesOfBlock, kAhead = kStepsAhead;
  static constexpr int kRows = kTileRows * kRowTiles;
};

/// y = x · Wᵀ, or with kNormed of rows normed: bf16 has f32's range, so what a whole row is scaled by is as
/// good after the sums as before them, and rows need to be read but once. Block (x, y): Block::kTiles tiles
/// of the matrix, Block::kRows rows. x and the norm's weight are aligned to 16 bytes; p.in is p.depth tiles.
template <class Block, bool kNormed>
__global__ void __launch_bounds__(kDecodeTileThreads, 2)
    DecodeTiles(const __grid_constant__ TileProduct p, const float* x) {
  constexpr int kWarps = kDecodeTileThreads / kWarp, kTiles = Block::kTiles, kRowTiles = Block::kRowTiles;
  constexpr int kRows = Block::kRows, kStride = kRows + 1;  // a column's neighbours in other banks
  constexpr int kTilesAtOnce = kTiles == 1 ? 1 : 2;  // whose sums the warps exchange: of kSiluMul a pair
  constexpr int kColumns = kTilesAtOnce * kTileSide;
  SHARED_ARRAY(float, shares, kWarps* kColumns* kStride);  // [warp][column][row]
  SHARED_ARRAY(float, squares, kWarps* kRows);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, group = lane / 4;
  const int64_t first_tile = int64_t{blockIdx.x} * kTiles, first_row = int64_t{blockIdx.y} * kRows;

  // Where this lane begins, in 32 bits, of which the registers hold more. What is beyond the last tile or row
  // is made of the last one's numbers, and not written.
  uint32_t tiles[kTiles], rows[kRowTiles];
#pragma unroll
  for (int j = 0; j < kTiles; j++) {
    const int64_t tile = p.TileInTurn(min(first_tile + j, p.tiles() - 1));
    tiles[j] = static_cast<uint32_t>(tile * p.depth * kWarp) + lane;
  }
#pragma unroll
  for (int r = 0; r < kRowTiles; r++) {
    const int64_t row = min(first_row + r * kTileRows + group, p.results.rows - 1);
    rows[r] = static_cast<uint32_t>(row * p.in) + lane % 4 * 4;
  }

  struct Step {
    uint4 a[kTiles];
    float4 x[kRowTiles], norm;
  };
  const auto load = [&](Step& to, int step) {
#pragma unroll
    for (int j = 0; j < kTiles; j++) to.a[j] = LoadOnce(p.weights + (tiles[j] + step * kWarp));
#pragma unroll
    for (int r = 0; r < kRowTiles; r++) to.x[r] = LoadFloat4(x + (rows[r] + step * kTileSide));
    if constexpr (kNormed) to.norm = LoadFloat4(p.norm.weight + (lane % 4 * 4 + step * kTileSide));
  };
  float sums[kTiles][kRowTiles][4] = {}, square[kRowTiles] = {};
  const auto multiply = [&](const Step& s) {
#pragma unroll
    for (int r = 0; r < kRowTiles; r++) {
      float4 v = s.x[r];
      if constexpr (kNormed) {
        square[r] = fmaf(v.x, v.x, square[r]), square[r] = fmaf(v.y, v.y, square[r]);
        square[r] = fmaf(v.z, v.z, square[r]), square[r] = fmaf(v.w, v.w, square[r]);
        v = make_float4(v.x * s.norm.x, v.y * s.norm.y, v.z * s.norm.z, v.w * s.norm.w);
      }
      const uint2 b = make_uint2(RoundPair(v.x, v.y), RoundPair(v.z, v.w));
#pragma unroll
      for (int j = 0; j < kTiles; j++) MultiplyTile(sums[j][r], s.a[j], b);
    }
  };
  constexpr int kTurn = Block::kAhead * kWarps;
  const auto depth = static_cast<int>(p.depth);
  Step steps[Block::kAhead];
#pragma unroll
  for (int i = 0; i < Block::kAhead; i++) {
    if (warp + i * kWarps < depth) load(steps[i], warp + i * kWarps);
  }
  for (int first = warp; first < depth; first += kTurn) {
#pragma unroll
    for (int i = 0; i < Block::kAhead; i++) {
      const int step = first + i * kWarps;
      if (step >= depth) break;
      multiply(steps[i]);
      if (step + kTurn < depth) load(steps[i], step + kTurn);
    }
  }

  if constexpr (kNormed) {
#pragma unroll
    for (int r = 0; r < kRowTiles; r++) {
      square[r] += ShuffleXor(square[r], 1);
      square[r] += ShuffleXor(square[r], 2);
      if (lane % 4 == 0) squares[warp * kRows + r * kTileRows + group] = square[r];
    }
  }
#pragma unroll
  for (int first = 0; first < kTiles; first += kTilesAtOnce) {
    if (first > 0) __syncthreads();  // the last tiles' have been read
#pragma unroll
    for (int j = 0; j < kTilesAtOnce; j++) {
#pragma unroll
      for (int r = 0; r < kRowTiles; r++) {
        float* to =
            shares + (warp * kColumns + j * kTileSide + group) * kStride + r * kTileRows + lane % 4 * 2;
        const float(&sum)[4] = sums[first + j][r];
        to[0] = sum[0], to[1] = sum[1];
        to[8 * kStride] = sum[2], to[8 * kStride + 1] = sum[3];
      }
    }
    __syncthreads();
    if (first_tile + first >= p.tiles()) continue;
    const bool gated = kTilesAtOnce == 2 && p.results.is_gated();
    const int columns = gated ? kTileSide : kColumns;
    const int64_t first_column = (first_tile + first) * kTileSide / (gated ? 2 : 1);
    for (int i = threadIdx.x; i < kRows * columns; i += kDecodeTileThreads) {
      const int column = i % columns, row = i / columns;
      float sum = 0, up = 0, all = 0;
#pragma unroll
      for (int w = 0; w < kWarps; w++) {
        const float* share = shares + (w * kColumns + column) * kStride + row;
        sum += share[0];
        if (gated) up += share[kTileSide * kStride];
        if constexpr (kNormed) all += squares[w * kRows + row];
      }
      if constexpr (kNormed) {
        const float scale = p.norm.ScaleOf(all, p.in);
        sum *= scale, up *= scale;
      }
      p.results.Finish(first_row + row, first_column + column, sum, up);
    }
  }
}

}  // namespace bifrons::cuda
