// Products of rows with a matrix in blocks, on every GPU: integer sums of groups, four products an
// instruction, then one fmaf a group, in their order (kernels/quantize_row.h).
#pragma once

#include "kernels/cuda/blocks.cuh"
#include "kernels/cuda/intrinsics.cuh"
#include "kernels/cuda/results.cuh"

namespace bifrons::cuda {

template <class B>
struct BlockProduct {
  BlockMatrix<B> matrix;
  QuantizedRows x;
  Results results;
};

/// The 32 numbers of a group by four, as they are multiplied with those of x.
template <class B>
__device__ __forceinline__ void WordsOf(const uint4 (&v)[kVectorsOfGroup<B>], uint32_t (&words)[8]) {
  if constexpr (kVectorsOfGroup<B> == 2) {
    words[0] = v[0].x, words[1] = v[0].y, words[2] = v[0].z, words[3] = v[0].w;
    words[4] = v[1].x, words[5] = v[1].y, words[6] = v[1].z, words[7] = v[1].w;
  } else {
    constexpr uint32_t kNibbles = 0x0F0F0F0Fu;
    words[0] = v[0].x & kNibbles, words[1] = v[0].y & kNibbles;
    words[2] = v[0].z & kNibbles, words[3] = v[0].w & kNibbles;
    words[4] = v[0].x >> 4 & kNibbles, words[5] = v[0].y >> 4 & kNibbles;
    words[6] = v[0].z >> 4 & kNibbles, words[7] = v[0].w >> 4 & kNibbles;
  }
}

/// A group's scale, and its minimum where the type has such.
struct GroupScale {
  float scale, min;
};
template <class B>
__device__ __forceinline__ GroupScale ScaleAt(const ScaleOfGroup<B>& stored, int tile, int group) {
  if constexpr (kHasMinima<B>) {
    const SixBits bits = SixBitsOf(stored, tile % 2 * kGroupsOfBlockTile + group);
    return {ScaleOf(stored) * static_cast<float>(bits.scale),
            MinScaleOf(stored) * static_cast<float>(bits.min)};
  } else {
    return {Widen(stored), 0};
  }
}

constexpr int kBlockProductThreads = 256;

/// A block of threads makes kRows rows × kTiles tiles of the matrix, 8 columns each; blocks of the same
/// columns are neighbours, and find the weights in the cache. Its warps take turns along the groups, four
/// each: a lane makes the sums of one group of kTiles columns with all rows, from 16-byte loads that depend
/// on nothing. The sums of a turn go through shared memory to one thread for each result, which joins them in
/// order; meanwhile the others make the next turn's.
template <class B, int kRows, int kTiles>
__global__ void __launch_bounds__(kBlockProductThreads, 2)
    MultiplyBlocks(const __grid_constant__ BlockProduct<B> p) {
  constexpr int kWarps = kBlockProductThreads / kWarp, kTurn = kWarps * kGroupsOfBlockTile;  // groups
  constexpr int kColumns = kTiles * kRowsOfBlockTile;
  constexpr int kPlane = (kTurn + 1) * kRowsOfBlockTile;  // of a tile and row, neighbours' in other banks
  constexpr int kAhead = 2;                // turns whose weights are under way; and halves of shared memory
  constexpr bool kRowsAhead = kRows <= 2;  // of x, too: for more there are no registers
  SHARED_ARRAY(float, sums, kAhead* kRows* kTiles* kPlane);  // [half][row][tile][group][column of the tile]
  SHARED_ARRAY(float, scales, kAhead* kTiles* kPlane);
  SHARED_ARRAY(float, minima, kHasMinima<B> ? kAhead* kTiles* kPlane : 1);
  SHARED_ARRAY(uint2, of_x, kAhead * kRows * kTurn);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const int group = lane / kRowsOfBlockTile, own = lane % kRowsOfBlockTile;
  const Results& results = p.results;
  const int groups = p.matrix.groups, tiles = p.matrix.tiles;
  const int64_t row_tiles = (results.rows + kRows - 1) / kRows;
  const int64_t first_row = blockIdx.x % row_tiles * kRows;
  // Of kSiluMul the first half of the columns are gates, the other half what they gate.
  const bool gated = results.is_gated();
  const int gates = gated ? kColumns / 2 : kColumns;
  const int64_t first_column = blockIdx.x / row_tiles * gates;

  // Where this lane begins. What is beyond the last column or row is made of the last one's numbers, and not
  // written.
  uint32_t steps_at[kTiles], scales_at[kTiles];
#pragma unroll
  for (int j = 0; j < kTiles; j++) {
    const int column = j * kRowsOfBlockTile + own;
    const int64_t result =
        min(first_column + (column < gates ? column : column - gates), results.width() - 1);
    const int64_t row = column < gates ? result : results.width() + result;
    steps_at[j] = p.matrix.StepsAt(row) + group * kRowsOfBlockTile;
    scales_at[j] = p.matrix.ScalesAt(row);
  }
  uint32_t rows_at[kRows];
#pragma unroll
  for (int r = 0; r < kRows; r++)
    rows_at[r] = static_cast<uint32_t>(min(first_row + r, results.rows - 1) * groups);

  struct RowGroup {
    uint4 low, high;
    uint2 scale;
  };
  struct Step {
    uint4 steps[kTiles][kVectorsOfGroup<B>];
    ScaleOfGroup<B> scales[kTiles];
    RowGroup x[kRowsAhead ? kRows : 1];
  };
  const auto load_row = [&](int r, int tile) {
    const uint32_t at = rows_at[r] + min(tile * kGroupsOfBlockTile + group, groups - 1);
    return RowGroup{p.x.steps[2 * at], p.x.steps[2 * at + 1], p.x.groups[at]};
  };
  const auto load = [&](Step& to, int tile) {
#pragma unroll
    for (int j = 0; j < kTiles; j++) {
#pragma unroll
      for (int v = 0; v < kVectorsOfGroup<B>; v++)
        to.steps[j][v] = LoadOnce(p.matrix.steps + (steps_at[j] + p.matrix.StepsOfTile(tile) + v * kWarp));
      to.scales[j] = p.matrix.scales[scales_at[j] + p.matrix.ScalesOfTile(tile, group)];
    }
    if constexpr (kRowsAhead) {
#pragma unroll
      for (int r = 0; r < kRows; r++) to.x[r] = load_row(r, tile);
    }
  };
  const auto multiply = [&](const Step& s, int tile, int half) {
    const int at = (warp * kGroupsOfBlockTile + group) * kRowsOfBlockTile + own;
    uint32_t words[kTiles][8];
#pragma unroll
    for (int j = 0; j < kTiles; j++) {
      WordsOf<B>(s.steps[j], words[j]);
      const GroupScale scale = ScaleAt<B>(s.scales[j], tile, group);
      scales[(half * kTiles + j) * kPlane + at] = scale.scale;
      if constexpr (kHasMinima<B>) minima[(half * kTiles + j) * kPlane + at] = scale.min;
    }
#pragma unroll
    for (int r = 0; r < kRows; r++) {
      const RowGroup x = kRowsAhead ? s.x[kRowsAhead ? r : 0] : load_row(r, tile);
      const uint32_t x_words[8] = {x.low.x,  x.low.y,  x.low.z,  x.low.w,
                                   x.high.x, x.high.y, x.high.z, x.high.w};
      const auto minus_sum = static_cast<int>(x.scale.y);
      if (own == 0)
        of_x[(half * kRows + r) * kTurn + at / kRowsOfBlockTile] =
            make_uint2(x.scale.x, BitsOf(static_cast<float>(minus_sum)));
#pragma unroll
      for (int j = 0; j < kTiles; j++) {
        int sum = kOnesBits + kStepOffset<B> * minus_sum;
#pragma unroll
        for (int i = 0; i < 8; i++) sum = DotBytes(words[j][i], x_words[i], sum);
        sums[((half * kRows + r) * kTiles + j) * kPlane + at] = FloatOf(static_cast<uint32_t>(sum)) - kOnes;
      }
    }
  };

  // The result that this thread joins, if any.
  const int row = thread / kColumns, column = thread % kColumns;
  float total = 0;
  const auto join = [&](int turn, int half) {
    const int at = column / kRowsOfBlockTile * kPlane + column % kRowsOfBlockTile;
    const float* const sum = sums + (half * kRows + row) * kTiles * kPlane + at;
    const float* const scale = scales + half * kTiles * kPlane + at;
    const float* const min_at = minima + (kHasMinima<B> ? half * kTiles * kPlane + at : 0);
    const uint2* const x = of_x + (half * kRows + row) * kTurn;
    const int count = min(kTurn, groups - turn * kTurn);
#pragma unroll 4
    for (int g = 0; g < count; g++) {
      const float scale_of_x = FloatOf(x[g].x);
      total = fmaf(sum[g * kRowsOfBlockTile], scale[g * kRowsOfBlockTile] * scale_of_x, total);
      if constexpr (kHasMinima<B>)
        total = fmaf(FloatOf(x[g].y), min_at[g * kRowsOfBlockTile] * scale_of_x, total);
    }
  };

  Step steps[kAhead];
#pragma unroll
  for (int i = 0; i < kAhead; i++) {
    if (warp + i * kWarps < tiles) load(steps[i], warp + i * kWarps);
  }
  const int turns = (tiles + kWarps - 1) / kWarps;
  for (int first = 0; first < turns; first += kAhead) {
#pragma unroll
    for (int i = 0; i < kAhead; i++) {
      const int tile = (first + i) * kWarps + warp;
      if (first + i >= turns) break;
      if (tile < tiles) multiply(steps[i], tile, i);
      if (tile + kAhead * kWarps < tiles) load(steps[i], tile + kAhead * kWarps);
      __syncthreads();  // this turn's sums are there, and the last one's have been joined
      if (row < kRows) join(first + i, i);
    }
  }
  const float up = ShuffleXor(total, kColumns / 2);
  if (row < kRows && column < gates) results.Finish(first_row + row, first_column + column, total, up);
}

/// y [rows, width] = silu(gates) · what they gate, of products [rows, 2 · width]. A thread for each of y.
__global__ void __launch_bounds__(kCopyThreads)
    GateRows(const float* products, int64_t rows, int64_t width, float* y) {
  const int64_t i = int64_t{blockIdx.x} * kCopyThreads + threadIdx.x;
  if (i >= rows * width) return;
  const float* const gate = products + i / width * 2 * width + i % width;
  y[i] = Silu(gate[0]) * gate[width];
}

}  // namespace bifrons::cuda
