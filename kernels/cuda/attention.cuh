// Attention, split over spans of positions that are the same for every row: a block makes the shares of a few
// rows of one span, and the one that is the last with such rows joins their shares, span after span. So a
// long past is read by many blocks at once, and a row's sums are made in the same order whatever else is in
// the batch, and whichever block comes last.
#pragma once

#include "kernels/cuda/kv_rows.cuh"
#include "kernels/cuda/loads.cuh"
#include "kernels/cuda/reduce.cuh"

namespace bifrons::cuda {

/// Numbers of a head that stand in shared memory at once.
constexpr int kHeadPart = 32;

/// Keys and values k, v [rows, heads · dim], which all rows see. Tiles are of kTileRows rows.
template <class T>
struct RowKeys {
  using Number = T;
  static constexpr int kSeenStep = 0;
  static constexpr int kTileRows = CudaKvBatch::kTileRows;

  const T *k, *v;
  int64_t stride, rows, dim;
  bool aligned;  // every head of every row to 16 bytes

  __device__ __forceinline__ KvTile Tile(int64_t tile) const {
    const int64_t first = tile * kTileRows, left = rows - first;
    return {static_cast<int32_t>(first), static_cast<int32_t>(min(left, static_cast<int64_t>(kTileRows)))};
  }
  __device__ __forceinline__ int64_t Seen(int64_t) const { return rows; }
  __device__ __forceinline__ const T* Keys(int64_t, int64_t head, int64_t position) const {
    return k + position * stride + head * dim;
  }
  __device__ __forceinline__ const T* Values(int64_t, int64_t head, int64_t position) const {
    return v + position * stride + head * dim;
  }
};

/// Shares of spans: of a row, head and span the sum of weights · values [dim], the largest score and the sum
/// of weights, which are relative to that.
struct Shares {
  float* values;       // [rows, heads, spans, dim]
  float2* weights;     // [rows, heads, spans]: largest score, sum
  unsigned* counters;  // [tiles, heads]: blocks that have made their share
  int64_t first_row;   // of the rows above
  int64_t heads, spans, dim;

  __device__ __forceinline__ int64_t At(int64_t row, int64_t head, int64_t span) const {
    return ((row - first_row) * heads + head) * spans + span;
  }
};

/// Queries: rows of heads · dim numbers.
template <class Q>
struct Queries {
  const Q* data;
  int64_t stride;
  int64_t group;  // heads that share keys and values
  float scale;
};

/// One result of a row that sees `spans` spans, of their shares: number `at` of its head.
__device__ __forceinline__ float Merge(const Shares& shares, int64_t first, int64_t spans, int64_t at) {
  float largest = -INFINITY, sum = 0, total = 0;
  for (int64_t span = 0; span < spans; span++) largest = fmaxf(largest, shares.weights[first + span].x);
  for (int64_t span = 0; span < spans; span++) {
    const float2 weight = shares.weights[first + span];
    const float factor = Exp(weight.x - largest);
    sum = fmaf(shares.values[(first + span) * shares.dim + at], factor, sum);
    total = fmaf(weight.y, factor, total);
  }
  return sum / total;
}

/// y [rows, heads · dim]. A block for every tile (x), head (y) and span (z) of a source of keys; there may be
/// more spans than anybody sees. Products are of numbers rounded to Compute; tiles have at most kRows rows,
/// of one sequence.
template <class Q, class Source, class Compute, int kRows>
__global__ void __launch_bounds__(kSpan)
    AttendSpans(const Queries<Q> q, const Source source, int64_t first_tile, const Shares shares, Q* y) {
  constexpr int kWarps = kSpan / kWarp, kStride = kHeadPart + 4;  // rows stay 16-byte aligned
  SHARED_ARRAY(float, part, kSpan* kStride);                      // of keys, then of values: [position]
  SHARED_ARRAY(float, query, kRows* kHeadPart);
  SHARED_ARRAY(float, weights, kSpan* kRows);  // [position][row]
  SHARED_ARRAY(float, totals, kRows);          // of weights
  SHARED_ARRAY(float, mixed, kWarps* kRows* kHeadPart);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const KvTile tile = source.Tile(first_tile + blockIdx.x);
  const int64_t head = blockIdx.y, kv_head = head / q.group, begin = static_cast<int64_t>(blockIdx.z) * kSpan;
  const int64_t all_seen = source.Seen(tile.first_row);  // by the tile's first row
  const auto spans_of = [all_seen](int row) {
    return (all_seen + row * Source::kSeenStep + kSpan - 1) / kSpan;
  };
  // Positions of this span that the tile's first row sees, and its last one: none is no reason to be here.
  const auto first_seen = static_cast<int>(min(all_seen - begin, static_cast<int64_t>(kSpan)));
  const int seen = min(first_seen + (tile.rows - 1) * Source::kSeenStep, kSpan);
  if (seen <= 0) return;

  // Four threads bring a position's part, eight numbers each; zero beyond what is seen, which may be
  // anything.
  const auto bring = [&](auto row_of, int64_t first) {
#pragma unroll
    for (int i = 0; i < kHeadPart / 8; i++) {
      const int position = (thread + i * kSpan) / 4, at = thread % 4 * 8;
      float v[8] = {};
      if (position < seen) {
        LoadUpTo8(row_of(begin + position) + first + at, shares.dim - first - at, source.aligned, v);
      }
      float* to = part + position * kStride + at;
      StoreFloat4(to, make_float4(RoundTo<Compute>(v[0]), RoundTo<Compute>(v[1]), RoundTo<Compute>(v[2]),
                                  RoundTo<Compute>(v[3])));
      StoreFloat4(to + 4, make_float4(RoundTo<Compute>(v[4]), RoundTo<Compute>(v[5]), RoundTo<Compute>(v[6]),
                                      RoundTo<Compute>(v[7])));
    }
  };

  // Scores: a thread for each position, all the tile's rows.
  float scores[kRows] = {};
  for (int64_t first = 0; first < shares.dim; first += kHeadPart) {
    bring([&](int64_t position) { return source.Keys(tile.first_row, kv_head, position); }, first);
    for (int i = thread; i < kRows * kHeadPart; i += kSpan) {
      const int row = i / kHeadPart;
      const int64_t at = first + i % kHeadPart;
      const bool there = row < tile.rows && at < shares.dim;
      const Q* from = q.data + (tile.first_row + row) * q.stride + head * shares.dim + at;
      query[i] = there ? RoundTo<Compute>(Widen(*from)) : 0.0f;
    }
    __syncthreads();
#pragma unroll 2
    for (int i = 0; i < kHeadPart; i += 4) {
      const float4 k = LoadFloat4(part + thread * kStride + i);
#pragma unroll
      for (int row = 0; row < kRows; row++) {
        const float4 v = LoadFloat4(query + row * kHeadPart + i);
        scores[row] = fmaf(v.x, k.x, scores[row]), scores[row] = fmaf(v.y, k.y, scores[row]);
        scores[row] = fmaf(v.z, k.z, scores[row]), scores[row] = fmaf(v.w, k.w, scores[row]);
      }
    }
    __syncthreads();  // the part has been used
  }
#pragma unroll
  for (int row = 0; row < kRows; row++) weights[thread * kRows + row] = scores[row] * q.scale;
  __syncthreads();

  // Weights: a warp for each row. Positions that a row does not see have none.
  for (int row = warp; row < tile.rows; row += kWarps) {
    const int row_seen = first_seen + row * Source::kSeenStep;
    float score[kWarps];
    float largest = -INFINITY, sum = 0;
#pragma unroll
    for (int i = 0; i < kWarps; i++) {
      const int position = i * kWarp + lane;
      score[i] = position < row_seen ? weights[position * kRows + row] : -INFINITY;
      largest = fmaxf(largest, score[i]);
    }
    largest = WarpMax(largest);
#pragma unroll
    for (int i = 0; i < kWarps; i++) {
      const int position = i * kWarp + lane;
      const float weight = position < row_seen ? Exp(score[i] - largest) : 0.0f;
      sum += weight;
      weights[position * kRows + row] = RoundTo<Compute>(weight);
    }
    sum = WarpSum(sum);
    if (lane == 0 && row_seen > 0) {
      totals[row] = sum;
      shares.weights[shares.At(tile.first_row + row, head, blockIdx.z)] = make_float2(largest, sum);
    }
  }

  // Values: a lane for each number of the part; every warp mixes a quarter of the positions.
  for (int64_t first = 0; first < shares.dim; first += kHeadPart) {
    bring([&](int64_t position) { return source.Values(tile.first_row, kv_head, position); }, first);
    __syncthreads();
    float sums[kRows] = {};
    const int end = min((warp + 1) * kWarp, seen);
    for (int position = warp * kWarp; position < end; position++) {
      const float v = part[position * kStride + lane];
#pragma unroll
      for (int row = 0; row < kRows; row++) {
        // Not weight 0: what a later row may see can be NaN.
        const bool sees = position < first_seen + row * Source::kSeenStep;
        if (sees) sums[row] = fmaf(weights[position * kRows + row], v, sums[row]);
      }
    }
#pragma unroll
    for (int row = 0; row < kRows; row++) mixed[(warp * kRows + row) * kHeadPart + lane] = sums[row];
    __syncthreads();
    for (int i = thread; i < kRows * kHeadPart; i += kSpan) {
      const int row = i / kHeadPart;
      const int64_t at = first + i % kHeadPart;
      if (row >= tile.rows || at >= shares.dim || first_seen + row * Source::kSeenStep <= 0) continue;
      float sum = mixed[i];
      for (int w = 1; w < kWarps; w++) sum += mixed[w * kRows * kHeadPart + i];
      const int64_t batch_row = tile.first_row + row;
      if (spans_of(row) == 1) {
        y[(batch_row * shares.heads + head) * shares.dim + at] = Narrow<Q>(sum / totals[row]);
      } else {
        shares.values[shares.At(batch_row, head, blockIdx.z) * shares.dim + at] = sum;
      }
    }
  }

  const int64_t spans = spans_of(tile.rows - 1);
  unsigned* counter = shares.counters + int64_t{blockIdx.x} * shares.heads + head;
  if (spans == 1 || !IsLastBlock(counter, static_cast<unsigned>(spans))) return;
  for (int row = 0; row < tile.rows; row++) {
    if (spans_of(row) == 1) continue;
    const int64_t batch_row = tile.first_row + row, first = shares.At(batch_row, head, 0);
    for (int64_t at = thread; at < shares.dim; at += kSpan) {
      y[(batch_row * shares.heads + head) * shares.dim + at] =
          Narrow<Q>(Merge(shares, first, spans_of(row), at));
    }
  }
}

}  // namespace bifrons::cuda
