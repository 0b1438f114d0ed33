#include "kernels/cpu/attention.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/map_kernels.h"
#include "kernels/cpu/tile_kernels.h"
#include "src/base/check.h"

namespace bifrons::cpu {
namespace {

int64_t Align(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// An element of q, k or v as the products see it.
float Operand(const FullAttention& a, const void* rows, int64_t row, int64_t column) {
  const int64_t i = row * a.stride + column;
  if (a.type == DType::kBF16) return ToFloat(static_cast<const BF16*>(rows)[i]);
  const float x = static_cast<const float*>(rows)[i];
  return a.compute == DType::kBF16 ? ToFloat(ToBF16(x)) : x;
}

#if defined(__x86_64__)
// Keys of a head become stripes of 32 keys, its values stripes of 32 columns; a task is 32 positions of one
// head: their scores against all keys stay in the L2 cache until they are a panel of weights.
void AttendOnTiles(ThreadPool& pool, const FullAttention& a, float* y) {
  constexpr const TileKernels& tiles = kTileKernelsAmx;
  const int64_t n = a.n, dim = a.head_dim, width = a.heads * dim;
  const int64_t blocks = (n + kPanel - 1) / kPanel, padded = blocks * kPanel;
  const int64_t columns = (dim + kPanel - 1) / kPanel, depth = columns * kPanel;
  const auto *q = static_cast<const float*>(a.q), *k = static_cast<const float*>(a.k),
             *v = static_cast<const float*>(a.v);
  const int64_t head_size = padded * depth;
  thread_local Tensor packed;
  if (packed.empty() || packed.shape()[0] < 2 * a.heads * head_size) {
    packed = Tensor(DType::kBF16, {2 * a.heads * head_size});
  }
  BF16 *keys = packed.as<BF16>(), *values = keys + a.heads * head_size;
  pool.ParallelFor(a.heads, [&](int64_t begin, int64_t end, int) {
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
  pool.ParallelFor(a.heads * blocks, [&](int64_t begin, int64_t end, int) {
    const SetUpTiles set_up;
    Tensor query(DType::kBF16, {kPanel * depth}), weights(DType::kBF16, {kPanel * padded});
    Tensor scores(DType::kF32, {kPanel * padded});
    float inverse[kPanel];
    alignas(64) float mixed[kTileProduct];
    for (int64_t task = begin; task < end; task++) {
      const int64_t h = task / blocks, row = task % blocks * kPanel, rows = std::min(kPanel, n - row);
      const BF16 *key = keys + h * head_size, *value = values + h * head_size;
      tiles.pack_panel(q + row * a.stride + h * dim, rows, a.stride, dim, query.as<BF16>());
      for (int64_t b = 0; b < blocks; b++) {
        tiles.multiply(query.as<BF16>(), rows, key + b * kPanel * depth, columns, false,
                       scores.as<float>() + b * kTileProduct, nullptr, 0);
      }
      tiles.softmax(scores.as<float>(), rows, n, scale, weights.as<BF16>(), inverse);
      for (int64_t c = 0; c < columns; c++) {
        tiles.multiply(weights.as<BF16>(), rows, value + c * kPanel * padded, blocks, false, mixed, nullptr,
                       0);
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

}  // namespace

void AttendToAll(Isa isa, ThreadPool& pool, const FullAttention& a, void* y) {
#if defined(__x86_64__)
  if (isa == Isa::kAmx && a.compute == DType::kBF16 && a.type == DType::kF32) {
    return AttendOnTiles(pool, a, static_cast<float*>(y));
  }
#endif
  const MapKernels& kernels = GetMapKernels(isa);
  const int64_t n = a.n, heads = a.heads, head_dim = a.head_dim, channels = heads * head_dim;
  const bool rounded = a.compute == DType::kBF16;
  const int64_t columns = Align(n, kColumnAlign), depth = Align(head_dim, kColumnAlign);

  Tensor keys = Tensor::Zeros(DType::kF32, {heads, head_dim, columns});  // transposed
  Tensor values = Tensor::Zeros(DType::kF32, {heads, n, depth});
  float* key = keys.as<float>();
  float* value = values.as<float>();
  pool.ParallelFor(channels, [&](int64_t begin, int64_t end, int) {
    constexpr int64_t kTile = 16;  // positions per visit to a line of the transposed keys
    for (int64_t first = 0; first < n; first += kTile) {
      for (int64_t c = begin; c < end; c++) {
        for (int64_t i = first; i < std::min(first + kTile, n); i++) {
          key[c * columns + i] = Operand(a, a.k, i, c);
          value[(c / head_dim * n + i) * depth + c % head_dim] = Operand(a, a.v, i, c);
        }
      }
    }
  });

  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  const int64_t tiles = (n + kMultiplyRows - 1) / kMultiplyRows;
  pool.ParallelFor(heads * tiles, [&](int64_t begin, int64_t end, int) {
    Tensor query = Tensor::Zeros(DType::kF32, {kMultiplyRows, head_dim});
    Tensor weights(DType::kF32, {kMultiplyRows, columns});
    Tensor mixed(DType::kF32, {kMultiplyRows, depth});
    for (int64_t task = begin; task < end; task++) {
      const int64_t head = task / tiles, row = task % tiles * kMultiplyRows;
      const int64_t rows = std::min(kMultiplyRows, n - row);
      for (int64_t r = 0; r < rows; r++) {
        for (int64_t d = 0; d < head_dim; d++) {
          query.as<float>()[r * head_dim + d] = scale * Operand(a, a.q, row + r, head * head_dim + d);
        }
      }
      kernels.multiply(query.as<float>(), head_dim, key + head * head_dim * columns, columns, head_dim,
                       columns, weights.as<float>(), columns);
      for (int64_t r = 0; r < rows; r++) kernels.softmax(weights.as<float>() + r * columns, n, rounded);
      kernels.multiply(weights.as<float>(), columns, value + head * n * depth, depth, n, depth,
                       mixed.as<float>(), depth);
      for (int64_t r = 0; r < rows; r++) {
        const float* line = mixed.as<float>() + r * depth;
        const int64_t first = (row + r) * channels + head * head_dim;
        if (a.type == DType::kBF16) {
          kernels.add_and_round(line, nullptr, head_dim, static_cast<BF16*>(y) + first);
        } else {
          std::copy_n(line, head_dim, static_cast<float*>(y) + first);
        }
      }
    }
  });
}

}  // namespace bifrons::cpu
