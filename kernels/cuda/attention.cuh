// Attention, split over spans of positions that are the same for every row: a block makes the shares of a few
// rows of one span, and the one that is the last with such rows joins their shares, span after span. So a
// long past is read by many blocks at once, and a row's sums are made in the same order whatever else is in
// the batch, and whichever block comes last.
#pragma once

#include <type_traits>

#include "kernels/cuda/cached_vectors.cuh"
#include "kernels/cuda/kv_rows.cuh"
#include "kernels/cuda/reduce.cuh"

namespace bifrons::cuda {

/// Keys and values of rows that all see. Tiles are of kTileRows rows.
template <class T>
struct RowKeys {
  using Number = T;
  static constexpr int kSeenStep = 0;
  static constexpr int kTileRows = CudaKvBatch::kTileRows;

  const T *k, *v;          // [rows, heads], to 16 bytes
  int64_t row, head_room;  // numbers from one row to the next, from one head to the next
  int64_t rows;

  __device__ __forceinline__ KvTile Tile(int64_t tile) const {
    const int64_t first = tile * kTileRows, left = rows - first;
    return {static_cast<int32_t>(first), static_cast<int32_t>(min(left, static_cast<int64_t>(kTileRows)))};
  }
  __device__ __forceinline__ int64_t Seen(int64_t) const { return rows; }
  __device__ __forceinline__ const T* Keys(int64_t, int64_t head, int64_t position) const {
    return k + position * row + head * head_room;
  }
  __device__ __forceinline__ const T* Values(int64_t, int64_t head, int64_t position) const {
    return v + position * row + head * head_room;
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
  bool aligned;   // every head of every row to 16 bytes
  int64_t group;  // heads that share keys and values
  float scale;
};

/// One result of a row that sees `spans` spans, of their shares: number `at` of its head.
__device__ __forceinline__ float Merge(const Shares& shares, int64_t first, int64_t spans, int64_t at) {
  float largest = -INFINITY, sum = 0, total = 0;
#pragma unroll 4
  for (int64_t span = 0; span < spans; span++) largest = fmaxf(largest, shares.weights[first + span].x);
#pragma unroll 4
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
/// of one sequence. A position's numbers are read by kLanes lanes, a vector each, or part by part.
template <class Q, class Source, class Compute, int kRows, int kLanes>
__global__ void __launch_bounds__(kSpan, kRows == 1 ? 2 : 4)
    AttendSpans(const Queries<Q> q, const Source source, int64_t first_tile, const Shares shares, Q* y) {
  using T = typename Source::Number;
  using Vector = CachedVector<T>;
  constexpr int kWarps = kSpan / kWarp, kPer = Vector::kCount, kPart = kLanes * kPer;
  // Of a lane's kLanes positions so many are under way at once: of one row, which does little with them, all.
  constexpr int kAtOnce = kRows == 1 ? kLanes : 4;
  SHARED_ARRAY(float, weights, kRows* kSpan);  // [row][position]
  SHARED_ARRAY(float, totals, kRows);          // of weights
  SHARED_ARRAY(float, mixed, kWarps* kRows* kPart);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const KvTile tile = source.Tile(first_tile + blockIdx.x);
  const int64_t head = blockIdx.y, kv_head = head / q.group;
  const int begin = static_cast<int>(blockIdx.z) * kSpan, dim = static_cast<int>(shares.dim);
  const auto all_seen = static_cast<int>(source.Seen(tile.first_row));  // by the tile's first row
  const auto spans_of = [all_seen](int row) {
    return (all_seen + row * Source::kSeenStep + kSpan - 1) / kSpan;
  };
  // Positions of this span that the tile's first row sees, and its last one: none is no reason to be here.
  const int first_seen = min(all_seen - begin, kSpan);
  const int seen = min(first_seen + (tile.rows - 1) * Source::kSeenStep, kSpan);
  if (seen <= 0) return;

  // A lane's first position in this span, and its numbers of a part.
  const int own = thread - lane % kLanes, number = lane % kLanes * kPer;
  const int warp_begin = begin + (warp * kWarp < seen ? warp * kWarp : 0);  // where there is a page
  const T* const keys = source.Keys(tile.first_row, kv_head, warp_begin);
  const T* const values = source.Values(tile.first_row, kv_head, warp_begin);
  // From a lane's position `i` on, zero beyond what is seen, which may be anything.
  const auto bring = [&](const T* warp_rows, int first, int i, Vector(&vectors)[kAtOnce]) {
    const T* from = warp_rows + (own % kWarp + i) * source.row;
    const int left = dim - first - number;
    const int there = left > 0 ? seen - own - i : 0;
#pragma unroll
    for (int j = 0; j < kAtOnce; j++)
      vectors[j] = j < there ? Vector::Of(from + j * source.row, first + number, dim) : Vector{};
    if (left >= kPer) return;
#pragma unroll
    for (Vector& vector : vectors) vector.Keep(left);
  };
  const auto widen = [](const Vector& vector, float(&numbers)[kPer]) {
    vector.Widen(numbers);
    if constexpr (!std::is_same_v<T, Compute>) {
#pragma unroll
      for (float& each : numbers) each = RoundTo<Compute>(each);
    }
  };
  Vector key_vectors[kAtOnce], value_vectors[kAtOnce];
  // Of one row values come along with keys; of several, while scores become weights.
  if constexpr (kRows == 1) bring(keys, 0, 0, key_vectors), bring(values, 0, 0, value_vectors);

  // Scores: a lane's share of every position, then their sum.
  for (int first = 0; first < dim; first += kPart) {
#pragma unroll 1
    for (int i = 0; i < kLanes; i += kAtOnce) {
      if (kRows > 1 || first > 0) bring(keys, first, i, key_vectors);
      for (int row = 0; row < (kRows == 1 ? 1 : tile.rows); row++) {
        const Q* from = q.data + (tile.first_row + row) * q.stride + head * dim + first + number;
        float query[kPer];
        LoadUpTo(from, dim - first - number, q.aligned, query);
#pragma unroll
        for (float& each : query) each = RoundTo<Compute>(each);
        float scores[kAtOnce];
#pragma unroll
        for (int j = 0; j < kAtOnce; j++) {
          float key[kPer];
          widen(key_vectors[j], key);
          scores[j] = 0;
#pragma unroll
          for (int c = 0; c < kPer; c++) scores[j] = fmaf(query[c], key[c], scores[j]);
        }
        const float score = SumAcross<kLanes, kAtOnce>(scores) * q.scale;
        if (lane % kLanes >= kAtOnce) continue;
        float* const to = weights + row * kSpan + own + i + lane % kLanes;
        *to = first == 0 ? score : *to + score;
      }
    }
  }
  if constexpr (kRows > 1) bring(values, 0, 0, value_vectors);
  __syncthreads();

  // Weights: a warp for each row. Positions that a row does not see have none.
  for (int row = warp; row < tile.rows; row += kWarps) {
    const int row_seen = first_seen + row * Source::kSeenStep;
    float score[kWarps];
    float largest = -INFINITY, sum = 0;
#pragma unroll
    for (int i = 0; i < kWarps; i++) {
      const int position = i * kWarp + lane;
      score[i] = position < row_seen ? weights[row * kSpan + position] : -INFINITY;
      largest = fmaxf(largest, score[i]);
    }
    largest = WarpMax(largest);
#pragma unroll
    for (int i = 0; i < kWarps; i++) {
      const int position = i * kWarp + lane;
      const float weight = position < row_seen ? Exp(score[i] - largest) : 0.0f;
      sum += weight;
      weights[row * kSpan + position] = RoundTo<Compute>(weight);
    }
    sum = WarpSum(sum);
    if (lane == 0 && row_seen > 0) {
      totals[row] = sum;
      shares.weights[shares.At(tile.first_row + row, head, blockIdx.z)] = make_float2(largest, sum);
    }
  }
  __syncthreads();

  // Values: a lane mixes its numbers of its positions, in order; then lanes, then warps are added up.
  for (int first = 0; first < dim; first += kPart) {
    float sums[kRows][kPer] = {};
#pragma unroll 1
    for (int i = 0; i < kLanes; i += kAtOnce) {
      if (first + i > 0) bring(values, first, i, value_vectors);
#pragma unroll
      for (int j = 0; j < kAtOnce; j++) {
        const int position = own + i + j;
        float value[kPer];
        widen(value_vectors[j], value);
#pragma unroll
        for (int row = 0; row < kRows; row++) {
          // Not weight 0: what a later row may see can be NaN.
          if (position >= first_seen + row * Source::kSeenStep || row >= tile.rows) continue;
          const float weight = weights[row * kSpan + position];
#pragma unroll
          for (int c = 0; c < kPer; c++) sums[row][c] = fmaf(weight, value[c], sums[row][c]);
        }
      }
    }
#pragma unroll
    for (int row = 0; row < kRows; row++) {
#pragma unroll
      for (float& sum : sums[row]) {
#pragma unroll
        for (int mask = kLanes; mask < kWarp; mask *= 2) sum += ShuffleXor(sum, mask);
      }
      if (lane >= kLanes) continue;
#pragma unroll
      for (int c = 0; c < kPer; c += 4) {
        const float* from = sums[row] + c;
        StoreFloat4(mixed + (warp * kRows + row) * kPart + number + c,
                    make_float4(from[0], from[1], from[2], from[3]));
      }
    }
    __syncthreads();
    for (int i = thread; i < tile.rows * kPart; i += kSpan) {
      const int row = i / kPart;
      const int at = first + i % kPart;
      if (at >= dim || first_seen + row * Source::kSeenStep <= 0) continue;
      float sum = mixed[i];
      for (int w = 1; w < kWarps; w++) sum += mixed[w * kRows * kPart + i];
      const int64_t batch_row = tile.first_row + row;
      if (spans_of(row) == 1) {
        y[(batch_row * shares.heads + head) * dim + at] = Narrow<Q>(sum / totals[row]);
      } else {
        shares.values[shares.At(batch_row, head, blockIdx.z) * dim + at] = sum;
      }
    }
    __syncthreads();  // what is mixed has been used
  }

  const int spans = spans_of(tile.rows - 1);
  unsigned* counter = shares.counters + int64_t{blockIdx.x} * shares.heads + head;
  if (spans == 1 || !IsLastBlock(counter, static_cast<unsigned>(spans))) return;
  for (int row = 0; row < tile.rows; row++) {
    if (spans_of(row) == 1) continue;
    const int64_t batch_row = tile.first_row + row, first = shares.At(batch_row, head, 0);
    for (int at = thread; at < dim; at += kSpan) {
      y[(batch_row * shares.heads + head) * dim + at] = Narrow<Q>(Merge(shares, first, spans_of(row), at));
    }
  }
}

}  // namespace bifrons::cuda
