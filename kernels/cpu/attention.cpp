#include "kernels/cpu/attention.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/tile_kernels.h"
#include "kernels/host/memory.h"

namespace bifrons::cpu {
namespace {

int64_t Align(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// What AttendToAll was given: q, k and v are rows of one type, `stride` numbers apart.
struct Inputs {
  const void *q, *k, *v;
  DType type;
  int64_t stride, n;
  int64_t heads, head_dim;
  DType compute;

  // An element of q, k or v as the products see it.
  float Operand(const void* rows, int64_t row, int64_t column) const {
    const int64_t i = row * stride + column;
    if (type == DType::kBF16) return ToFloat(static_cast<const BF16*>(rows)[i]);
    const float x = static_cast<const float*>(rows)[i];
    return compute == DType::kBF16 ? ToFloat(ToBF16(x)) : x;
  }
};

#if defined(__x86_64__)
// Keys of a head become stripes of 32 keys, its values stripes of 32 columns; a task is 32 positions of one
// head: their scores against all keys stay in the L2 cache until they are a panel of weights.
void AttendOnTiles(Workspace& work, const Inputs& a, float* y) {
  constexpr const TileKernels& tiles = kTileKernelsAmx;
  const int64_t n = a.n, dim = a.head_dim, width = a.heads * dim;
  const int64_t blocks = (n + kPanel - 1) / kPanel, padded = blocks * kPanel;
  const int64_t columns = (dim + kPanel - 1) / kPanel, depth = columns * kPanel;
  const auto *q = static_cast<const float*>(a.q), *k = static_cast<const float*>(a.k),
             *v = static_cast<const float*>(a.v);
  const int64_t head_size = padded * depth;
  BF16* keys = work.scratch.Get<BF16>(Scratch::kOperands, 2 * a.heads * head_size);
  BF16* values = keys + a.heads * head_size;
  work.pool.ParallelFor(a.heads, [&](int64_t begin, int64_t end, int) {
    for (int64_t h = begin; h < end; h++) {
      for (int64_t b = 0; b < blocks; b++) {
        const int64_t row = b * kPanel;
        tiles.pack_stripe(k + row * a.stride + h * dim, std::min(kPanel, n - row), a.stride, dim,
                          keys + h * head_size + row * depth);
      }
      for (int64_t c = 0; c < columns; c++) {
        tiles.pack_columns(v + h * dim + c * kPanel, n, padded, a.stride, std::min(kPanel, dim - c * kPanel),
                           values + h * head_size + c * kPanel * padded);
      }
    }
  });

  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  work.pool.ParallelFor(a.heads * blocks, [&](int64_t begin, int64_t end, int part) {
    const SetUpTiles set_up;
    BF16* query = work.scratch.Get<BF16>(Scratch::kQuery, kPanel * depth, part);
    BF16* weights = work.scratch.Get<BF16>(Scratch::kWeights, kPanel * padded, part);
    float* scores = work.scratch.Get<float>(Scratch::kProducts, kPanel * padded, part);
    float inverse[kPanel];
    alignas(64) float mixed[kTileProduct];
    for (int64_t task = begin; task < end; task++) {
      const int64_t h = task / blocks, row = task % blocks * kPanel, rows = std::min(kPanel, n - row);
      const BF16 *key = keys + h * head_size, *value = values + h * head_size;
      tiles.pack_panel(q + row * a.stride + h * dim, rows, a.stride, dim, query);
      for (int64_t b = 0; b < blocks; b++) {
        tiles.multiply(query, rows, key + b * kPanel * depth, columns, false, scores + b * kTileProduct,
                       nullptr, 0);
      }
      tiles.softmax(scores, rows, n, scale, weights, inverse);
      for (int64_t c = 0; c < columns; c++) {
        tiles.multiply(weights, rows, value + c * kPanel * padded, blocks, false, mixed, nullptr, 0);
        const int64_t count = std::min(kPanel, dim - c * kPanel);
        float* to = y + row * width + h * dim + c * kPanel;
        for (int64_t r = 0; r < rows; r++, to += width) {
          for (int64_t i = 0; i < count; i++) to[i] = mixed[r * kPanel + i] * inverse[r];
        }
      }
    }
  });
}
#endif

// Two rows of bf16 as columns [count][2], of an operand of ProductKind::kBF16Dot.
void Interleave(const BF16* even, const BF16* odd, int64_t count, BF16* to) {
  for (int64_t i = 0; i < count; i++) to[2 * i] = even[i], to[2 * i + 1] = odd[i];
}

// Keys of a head become stripes of 32 keys, its values stripes of 32 columns, as matrices are packed: scores
// and sums of values are products of rows with vector instructions.
void AttendByProducts(Workspace& work, const Inputs& a, float* y) {
  constexpr ProductKind kKind = ProductKind::kBF16Dot;
  constexpr int64_t kRows = 48;  // of a task: their weights stay in the L2 cache
  const int64_t n = a.n, dim = a.head_dim, width = a.heads * dim;
  const int64_t key_stripes = (n + kStripe - 1) / kStripe, value_stripes = (dim + kStripe - 1) / kStripe;
  const int64_t depth = (dim + 1) / 2 * 2, length = (n + 1) / 2 * 2, columns = key_stripes * kStripe;
  const auto *q = static_cast<const float*>(a.q), *k = static_cast<const float*>(a.k),
             *v = static_cast<const float*>(a.v);
  const int64_t keys_size = columns * depth, values_size = value_stripes * kStripe * length;
  BF16* operands = work.scratch.Get<BF16>(Scratch::kOperands, a.heads * (keys_size + values_size));
  work.pool.ParallelFor(a.heads, [&](int64_t begin, int64_t end, int part) {
    BF16* even = work.scratch.Get<BF16>(Scratch::kQuery, 2 * depth, part);
    BF16* odd = even + depth;
    for (int64_t h = begin; h < end; h++) {
      BF16 *keys = operands + h * (keys_size + values_size), *values = keys + keys_size;
      std::fill_n(keys, keys_size + values_size, BF16{0});
      for (int64_t i = 0; i < n; i++) {
        work.rows.to_bf16(k + i * a.stride + h * dim, dim, even);
        BF16* to = keys + i / kStripe * kStripe * depth + i % kStripe * 2;
        for (int64_t d = 0; d < dim; d++) to[d / 2 * 2 * kStripe + d % 2] = even[d];
      }
      for (int64_t i = 0; i < n; i += 2) {
        std::fill_n(even, 2 * depth, BF16{0});
        work.rows.to_bf16(v + i * a.stride + h * dim, dim, even);
        if (i + 1 < n) work.rows.to_bf16(v + (i + 1) * a.stride + h * dim, dim, odd);
        for (int64_t s = 0; s < value_stripes; s++) {
          const int64_t first = s * kStripe;
          Interleave(even + first, odd + first, std::min<int64_t>(kStripe, dim - first),
                     values + first * length + i * kStripe);
        }
      }
    }
  });

  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  const int64_t blocks = (n + kRows - 1) / kRows;
  work.pool.ParallelFor(a.heads * blocks, [&](int64_t begin, int64_t end, int part) {
    float* query = work.scratch.Get<float>(Scratch::kQuery, kRows * depth, part);
    float* scores = work.scratch.Get<float>(Scratch::kMixed, kRows * columns, part);
    float* weights = columns == n ? scores : work.scratch.Get<float>(Scratch::kWeights, kRows * n, part);
    float* packed = work.scratch.Get<float>(Scratch::kProducts, kRows * std::max(depth, length), part);
    for (int64_t task = begin; task < end; task++) {
      const int64_t h = task / blocks, row = task % blocks * kRows, rows = std::min(kRows, n - row);
      const BF16 *keys = operands + h * (keys_size + values_size), *values = keys + keys_size;
      const auto multiply = [&](const float* x, int64_t in, const BF16* stripes, int64_t out, float* to,
                                int64_t to_stride) {
        work.rows.pack_rows(kKind, true, x, rows, in, 0, in, packed);
        for (int64_t first = 0; first < out; first += kStripe) {
          work.rows.product(kKind, {.weights = stripes + first * ((in + 1) / 2 * 2),
                                    .in = in,
                                    .x = packed,
                                    .rows = rows,
                                    .bias = nullptr,
                                    .y = to + first,
                                    .y_stride = to_stride,
                                    .columns = static_cast<int>(std::min<int64_t>(kStripe, out - first)),
                                    .accumulate = false});
        }
      };
      for (int64_t r = 0; r < rows; r++)
        std::copy_n(q + (row + r) * a.stride + h * dim, dim, query + r * dim);
      multiply(query, dim, keys, n, scores, columns);
      float sums[kRows];
      for (int64_t r = 0; r < rows; r++) {
        float* line = scores + r * columns;
        for (int64_t i = 0; i < n; i++) line[i] *= scale;
        sums[r] = work.rows.exponentials(line, n);
        if (weights != scores) std::copy_n(line, n, weights + r * n);
      }
      float* to = y + row * width + h * dim;
      multiply(weights, n, values, dim, to, width);
      for (int64_t r = 0; r < rows; r++, to += width) {
        for (int64_t i = 0; i < dim; i++) to[i] /= sums[r];
      }
    }
  });
}

}  // namespace

void AttendToAll(Workspace& work, const FullAttention& attention, const View& q, const View& k, const View& v,
                 const View& y) {
  const Inputs a{host::Bytes(q), host::Bytes(k),  host::Bytes(v),     q.type,           q.stride,
                 q.rows(),       attention.heads, attention.head_dim, attention.compute};
#if defined(__x86_64__)
  if (work.isa == Isa::kAmx && a.compute == DType::kBF16 && a.type == DType::kF32) {
    return AttendOnTiles(work, a, host::At<float>(y));
  }
#endif
  if (MultipliesBF16(work.isa) && a.compute == DType::kBF16 && a.type == DType::kF32)
    return AttendByProducts(work, a, host::At<float>(y));
  const int64_t n = a.n, heads = a.heads, head_dim = a.head_dim, channels = heads * head_dim;
  const bool rounded = a.compute == DType::kBF16;
  const int64_t columns = Align(n, kColumnAlign), depth = Align(head_dim, kColumnAlign);

  const int64_t keys_size = heads * head_dim * columns, values_size = heads * n * depth;
  float* key = work.scratch.Get<float>(Scratch::kOperands, keys_size + values_size);  // transposed
  float* value = key + keys_size;
  std::fill_n(key, keys_size + values_size, 0.0f);
  work.pool.ParallelFor(channels, [&](int64_t begin, int64_t end, int) {
    constexpr int64_t kTile = 16;  // positions per visit to a line of the transposed keys
    for (int64_t first = 0; first < n; first += kTile) {
      for (int64_t c = begin; c < end; c++) {
        for (int64_t i = first; i < std::min(first + kTile, n); i++) {
          key[c * columns + i] = a.Operand(a.k, i, c);
          value[(c / head_dim * n + i) * depth + c % head_dim] = a.Operand(a.v, i, c);
        }
      }
    }
  });

  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  const int64_t tiles = (n + kMultiplyRows - 1) / kMultiplyRows;
  work.pool.ParallelFor(heads * tiles, [&](int64_t begin, int64_t end, int part) {
    float* query = work.scratch.Get<float>(Scratch::kQuery, kMultiplyRows * head_dim, part);
    float* weights = work.scratch.Get<float>(Scratch::kWeights, kMultiplyRows * columns, part);
    float* mixed = work.scratch.Get<float>(Scratch::kMixed, kMultiplyRows * depth, part);
    std::fill_n(query, kMultiplyRows * head_dim, 0.0f);
    for (int64_t task = begin; task < end; task++) {
      const int64_t head = task / tiles, row = task % tiles * kMultiplyRows;
      const int64_t rows = std::min(kMultiplyRows, n - row);
      for (int64_t r = 0; r < rows; r++) {
        for (int64_t d = 0; d < head_dim; d++) {
          query[r * head_dim + d] = scale * a.Operand(a.q, row + r, head * head_dim + d);
        }
      }
      work.rows.multiply(query, head_dim, key + head * head_dim * columns, columns, head_dim, columns,
                         weights, columns);
      for (int64_t r = 0; r < rows; r++) work.rows.softmax(weights + r * columns, n, rounded);
      work.rows.multiply(weights, columns, value + head * n * depth, depth, n, depth, mixed, depth);
      for (int64_t r = 0; r < rows; r++) {
        const float* line = mixed + r * depth;
        const int64_t first = (row + r) * channels + head * head_dim;
        if (a.type == DType::kBF16) {
          work.maps.add_and_round(line, nullptr, head_dim, host::At<BF16>(y) + first);
        } else {
          std::copy_n(line, head_dim, host::At<float>(y) + first);
        }
      }
    }
  });
}

// Heads outermost: the rows of a window or chunk find their keys in the cache, and a chunk's short first rows
// and long last rows are spread over the threads.
void AttendToPast(Workspace& work, const float* q, int64_t q_stride, int64_t heads,
                  const host::HostKvBatch& batch, int64_t layer, float* y) {
  const KvShape& shape = batch.pages().shape();
  const auto attend = shape.type == DType::kF32    ? work.rows.attention_f32
                      : shape.type == DType::kBF16 ? work.rows.attention_bf16
                                                   : work.rows.attention_q8_0;
  const int64_t n = batch.rows(), dim = shape.head_dim, group = heads / shape.kv_heads;
  const size_t head_bytes = BytesOf(shape.type, shape.page_positions * dim);
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  work.pool.ParallelFor(shape.kv_heads * n, [&](int64_t begin, int64_t end, int part) {
    for (int64_t t = begin; t < end; t++) {
      const int64_t kv_head = t / n, r = t % n;
      const host::KvRow& row = batch.row_places()[static_cast<size_t>(r)];
      const size_t keys = batch.host_pages().layer_offset(layer) + static_cast<size_t>(kv_head) * head_bytes;
      const int64_t positions = row.position + 1;
      for (int64_t first = 0; first < group; first += kMaxAttentionQueries) {
        const int64_t queries = std::min<int64_t>(group - first, kMaxAttentionQueries);
        const int64_t head = kv_head * group + first;
        attend({.q = q + r * q_stride + head * dim,
                .queries = queries,
                .head_dim = dim,
                .pages = row.pages,
                .page_positions = shape.page_positions,
                .keys = keys,
                .values = keys + batch.host_pages().half_bytes(),
                .positions = positions,
                .scale = scale,
                .scores = work.scratch.Get<float>(Scratch::kWeights, queries * Align(positions, 16), part),
                .y = y + (r * heads + head) * dim});
      }
    }
  });
}

}  // namespace bifrons::cpu
