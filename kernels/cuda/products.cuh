// Products of rows with a matrix, y = epilogue(x · Wᵀ + bias), for few rows and for many, on every GPU.
// Operands are f32 at the multiplication, whatever is stored; every sum is f32, in an order that the matrix
// alone decides.
#pragma once

#include "kernels/cuda/results.cuh"
#include "kernels/cuda/row_norm.cuh"

namespace bifrons::cuda {

/// W: f32, bf16 or f16.
template <class W>
struct Product {
  const W* weights;  // [out, stride], zeros beyond `in`; 16-byte aligned
  int64_t stride;    // a multiple of 8
  int64_t in;
  const float* x;  // [rows, in]
  bool x_aligned;  // every row to 16 bytes
  bool round_x;    // to bf16
  RowNorm norm;    // of x; of DecodeProduct alone
  Results results;

  // Kernels count columns of the product so that four in a row make whole results: of kSiluMul two gates and
  // the two columns that they gate.
  __device__ __forceinline__ int64_t Result(int64_t column) const {
    return results.is_gated() ? column / 4 * 2 + column % 2 : column;
  }
  __device__ __forceinline__ bool HasColumn(int64_t column) const { return Result(column) < results.width(); }
  /// The row of the matrix that makes a column.
  __device__ __forceinline__ int64_t WeightRow(int64_t column) const {
    const bool gated = results.is_gated() && column % 4 >= 2;
    return Result(column) + (gated ? results.width() : 0);
  }
  /// Four of a row's numbers, zero beyond `in` and beyond the last row.
  __device__ __forceinline__ float4 Load4(int64_t row, int64_t i) const {
    return LoadUpTo4(x + row * in + i, row < results.rows ? in - i : 0, x_aligned);
  }
  /// Numbers as operands.
  __device__ __forceinline__ float4 Rounded(float4 v) const {
    if (!round_x) return v;
    return make_float4(RoundTo<BF16>(v.x), RoundTo<BF16>(v.y), RoundTo<BF16>(v.z), RoundTo<BF16>(v.w));
  }
  /// Writes the result of a column, or of a gate's; `gated` is the column after the next.
  __device__ __forceinline__ void Finish(int64_t row, int64_t column, float sum, float gated) const {
    if (results.is_gated() && column % 4 >= 2) return;
    results.Finish(row, Result(column), sum, gated);
  }
};

// ---- few rows -------------------------------------------------------------------------------------------
// A warp makes four columns for up to kRows rows: every lane multiplies the same eight numbers in 256 of all
// rows, so that a weight is loaded once for all of them, then the lanes' sums are added up.

constexpr int kDecodeThreads = 128, kColumnsOfWarp = 4;
constexpr int kDecodeColumns = kDecodeThreads / kWarp * kColumnsOfWarp;  // of a block

/// Adds each of kCount values up over a warp, in the order of WarpSum, with fewer than kCount + 5 shuffles:
/// at every step the lanes' halves share the values. A lane gets that of index lane / (32 / kCount).
/// (Unrolled by recursion: what a loop's variable indexes would stand in memory.)
template <int kCount, int kMask = kWarp / 2, int kRoom>
__device__ __forceinline__ float ScatteredSum(float (&values)[kRoom]) {
  if constexpr (kMask == 0) {
    return values[0];
  } else if constexpr (kCount == 1) {
    values[0] += ShuffleXor(values[0], kMask);
    return ScatteredSum<1, kMask / 2>(values);
  } else {
    const bool upper = threadIdx.x & kMask;
#pragma unroll
    for (int i = 0; i < kCount / 2; i++) {
      const float kept = upper ? values[i + kCount / 2] : values[i];
      const float given = upper ? values[i] : values[i + kCount / 2];
      values[i] = kept + ShuffleXor(given, kMask);
    }
    return ScatteredSum<kCount / 2, kMask / 2>(values);
  }
}

/// A block for every kDecodeColumns columns and kRows rows; blocks of the same columns are neighbours, and
/// find the weights in the cache.
template <class W, int kRows>
__global__ void __launch_bounds__(kDecodeThreads, 4) DecodeProduct(const __grid_constant__ Product<W> p) {
  constexpr int kStep = 8 * kWarp, kChunk = 4 * kStep;  // numbers of a row
  SHARED_ARRAY(float, chunk, kRows* kChunk);            // of x
  SHARED_ARRAY(float, scales, kRows);                   // of the norm
  const int lane = threadIdx.x % kWarp;
  const int64_t row_tiles = (p.results.rows + kRows - 1) / kRows;
  const int64_t first_row = blockIdx.x % row_tiles * kRows;
  const int64_t first_column =
      (blockIdx.x / row_tiles * (kDecodeThreads / kWarp) + threadIdx.x / kWarp) * kColumnsOfWarp;
  const W* weights[kColumnsOfWarp];
#pragma unroll
  for (int j = 0; j < kColumnsOfWarp; j++) {  // columns beyond the last are made and not written
    const int64_t column = first_column + j;
    weights[j] = p.weights + (p.HasColumn(column) ? p.WeightRow(column) : 0) * p.stride + lane * 8;
  }
  if (p.norm.exists()) {
    for (int r = threadIdx.x / kWarp; r < kRows; r += kDecodeThreads / kWarp) {
      const int64_t row = min(first_row + r, p.results.rows - 1);
      const float scale = p.norm.Scale(p.x + row * p.in, p.in, p.x_aligned);
      if (lane == 0) scales[r] = scale;
    }
  }
  float sums[kRows * kColumnsOfWarp] = {};
  for (int64_t begin = 0; begin < p.stride; begin += kChunk) {
    const int count = static_cast<int>(min(static_cast<int64_t>(kChunk), p.stride - begin));
    __syncthreads();  // the scales are there, and the chunk before has been used
    // Of a lane's eight numbers the first four and the last four stand apart, so that the lanes of a warp
    // read neighbouring ones.
    for (int i = 4 * threadIdx.x; i < kRows * kChunk; i += 4 * kDecodeThreads) {
      const int r = i / kChunk, at = i % kChunk;
      const int place = at / kStep * kStep + at % 8 / 4 * (4 * kWarp) + at % kStep / 8 * 4;
      if (at >= count) continue;
      float4 v = p.Load4(first_row + r, begin + at);
      if (p.norm.exists()) v = p.norm.Of4(v, begin + at, p.in, scales[r]);
      StoreFloat4(chunk + r * kChunk + place, p.Rounded(v));
    }
    __syncthreads();
    for (int step = 0; step < count; step += kStep) {
      if (step + lane * 8 >= count) break;
      float w[kColumnsOfWarp][8];
#pragma unroll
      for (int j = 0; j < kColumnsOfWarp; j++) Load8(weights[j] + begin + step, w[j]);
#pragma unroll
      for (int r = 0; r < kRows; r++) {
        const float* x = chunk + r * kChunk + step + lane * 4;
        const float4 low = LoadFloat4(x), high = LoadFloat4(x + 4 * kWarp);
#pragma unroll
        for (int j = 0; j < kColumnsOfWarp; j++) {
          float& sum = sums[r * kColumnsOfWarp + j];
          sum = fmaf(low.x, w[j][0], sum), sum = fmaf(low.y, w[j][1], sum);
          sum = fmaf(low.z, w[j][2], sum), sum = fmaf(low.w, w[j][3], sum);
          sum = fmaf(high.x, w[j][4], sum), sum = fmaf(high.y, w[j][5], sum);
          sum = fmaf(high.z, w[j][6], sum), sum = fmaf(high.w, w[j][7], sum);
        }
      }
    }
  }
  constexpr int kLanesOfSum = kWarp / (kRows * kColumnsOfWarp);
  const float sum = ScatteredSum<kRows * kColumnsOfWarp>(sums);
  const float gated = ShuffleXor(sum, 2 * kLanesOfSum);
  const int index = lane / kLanesOfSum;
  if (lane % kLanesOfSum == 0) {
    p.Finish(first_row + index / kColumnsOfWarp, first_column + index % kColumnsOfWarp, sum, gated);
  }
}

// ---- many rows ------------------------------------------------------------------------------------------
// A block makes 64 rows × 64 columns, a thread 8 × 4 of them; 16 numbers of every row and column stand in
// shared memory while the next 16 are on their way.

constexpr int kPrefillThreads = 128, kPrefillTile = 64;

/// A block for every tile; those of the same columns are neighbours.
template <class W>
__global__ void __launch_bounds__(kPrefillThreads) PrefillProduct(const __grid_constant__ Product<W> p) {
  constexpr int kTile = kPrefillTile, kDepth = 16, kStride = kTile + 4;  // rows stay 16-byte aligned
  constexpr int kRows = 8, kColumns = 4;                                 // of a thread
  SHARED_ARRAY(float, xs, 2 * kDepth * kStride);                         // [2][kDepth][kStride]: transposed
  SHARED_ARRAY(float, ws, 2 * kDepth * kStride);
  const int64_t row_tiles = (p.results.rows + kTile - 1) / kTile;
  const int64_t first_row = blockIdx.x % row_tiles * kTile, first_column = blockIdx.x / row_tiles * kTile;

  // What this thread brings: eight numbers of one row and of one column.
  const int line = static_cast<int>(threadIdx.x) / 2, part = static_cast<int>(threadIdx.x) % 2 * 8;
  const int64_t column = first_column + line;
  const bool has_column = p.HasColumn(column);
  const W* weights = p.weights + (has_column ? p.WeightRow(column) : 0) * p.stride;
  float4 low, high;
  float w[8];
  const auto load = [&](int64_t begin) {
    low = p.Rounded(p.Load4(first_row + line, begin + part));
    high = p.Rounded(p.Load4(first_row + line, begin + part + 4));
    LoadUpTo8(weights + begin + part, has_column ? p.stride - begin - part : 0, true, w);
  };
  const auto keep = [&](int half) {
    float* x_to = xs + (half * kDepth + part) * kStride + line;
    float* w_to = ws + (half * kDepth + part) * kStride + line;
    const float x[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
    for (int i = 0; i < 8; i++) x_to[i * kStride] = x[i], w_to[i * kStride] = w[i];
  };

  const int row = static_cast<int>(threadIdx.x) / (kTile / kColumns) * kRows;
  const int own_column = static_cast<int>(threadIdx.x) % (kTile / kColumns) * kColumns;
  float sums[kRows][kColumns] = {};
  load(0);
  keep(0);
  __syncthreads();
  int half = 0;
  for (int64_t begin = 0; begin < p.stride; begin += kDepth, half ^= 1) {
    const bool more = begin + kDepth < p.stride;
    if (more) load(begin + kDepth);
#pragma unroll 4
    for (int i = 0; i < kDepth; i++) {
      const float* x_at = xs + (half * kDepth + i) * kStride + row;
      const float4 above = LoadFloat4(x_at), below = LoadFloat4(x_at + 4);
      const float4 across = LoadFloat4(ws + (half * kDepth + i) * kStride + own_column);
      const float x[kRows] = {above.x, above.y, above.z, above.w, below.x, below.y, below.z, below.w};
      const float v[kColumns] = {across.x, across.y, across.z, across.w};
#pragma unroll
      for (int r = 0; r < kRows; r++) {
#pragma unroll
        for (int j = 0; j < kColumns; j++) sums[r][j] = fmaf(x[r], v[j], sums[r][j]);
      }
    }
    if (more) keep(half ^ 1);  // the half that was used before the last barrier
    __syncthreads();
  }
#pragma unroll
  for (int r = 0; r < kRows; r++) {
#pragma unroll
    for (int j = 0; j < kColumns; j++) {
      p.Finish(first_row + row + r, first_column + own_column + j, sums[r][j], sums[r][(j + 2) % kColumns]);
    }
  }
}

}  // namespace bifrons::cuda
