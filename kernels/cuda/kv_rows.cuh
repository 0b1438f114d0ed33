// Where kernels find keys and values, and the kernels that prepare and store them.
#pragma once

#include <type_traits>

#include "kernels/cuda/copies.cuh"
#include "kernels/cuda/kv_pages.h"

namespace bifrons::cuda {

/// Keys and values of one layer in pages, as a batch's rows see them: each those of its own sequence, up to
/// its own position.
template <class T>
struct PagedKeys {
  using Number = T;
  /// By how much the next row of a tile sees more positions.
  static constexpr int kSeenStep = 1;

  KvPlaces places;
  int64_t keys, values;  // bytes from a page's beginning to the layer's
  int32_t page_positions;
  int64_t row;  // numbers from one position to the next

  __device__ __forceinline__ KvTile Tile(int64_t tile) const { return places.tiles[tile]; }
  __device__ __forceinline__ int64_t Seen(int64_t batch_row) const {
    return static_cast<int64_t>(places.rows[batch_row].position) + 1;
  }
  __device__ __forceinline__ T* At(int64_t begin, int64_t batch_row, int64_t head, int64_t position) const {
    const auto at = static_cast<int32_t>(position);
    const int64_t in_page = head * page_positions + at % page_positions;
    uint8_t* page = Global(places.pages[places.rows[batch_row].first_page + at / page_positions]);
    return reinterpret_cast<T*>(page + begin) + in_page * row;
  }
  __device__ __forceinline__ T* Keys(int64_t batch_row, int64_t head, int64_t position) const {
    return At(keys, batch_row, head, position);
  }
  __device__ __forceinline__ T* Values(int64_t batch_row, int64_t head, int64_t position) const {
    return At(values, batch_row, head, position);
  }
};

/// Keys and values k, v [rows, heads · dim] of the same stride to the rows' places in the pages, rounded. A
/// thread for each of rows · heads · dim numbers.
template <class T>
__global__ void __launch_bounds__(kCopyThreads)
    StoreKvRows(const float* k, const float* v, int64_t stride, int64_t row_count, int64_t heads, int64_t dim,
                PagedKeys<T> pages) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kCopyThreads + threadIdx.x;
  if (i >= row_count * heads * dim) return;
  const int64_t row = i / (heads * dim), column = i % (heads * dim);
  const int64_t head = column / dim, position = pages.Seen(row) - 1;
  pages.Keys(row, head, position)[column % dim] = Narrow<T>(k[row * stride + column]);
  pages.Values(row, head, position)[column % dim] = Narrow<T>(v[row * stride + column]);
}

/// x, one of the 32 numbers of its warp's block, to number `at` of a row in blocks: Quantize of
/// src/base/blocks.cpp.
__device__ __forceinline__ void StoreStep(float x, int8_t* row, int64_t dim, int64_t at) {
  uint32_t largest = BitsOf(x) & 0x7FFFFFFFu;  // ordered as the numbers are, NaN above all
#pragma unroll
  for (int mask = 1; mask < kWarp; mask *= 2) largest = max(largest, ShuffleXor(largest, mask));
  const float scale = FloatOf(largest) / 127.0f;
  const float inverse = 1.0f / scale;
  // What f16 takes for zero has no steps, and what is not finite neither.
  const bool counts = BitsOf(inverse) - 1u < 0x7F800000u - 1u;
  const float step = counts ? x * inverse : 0.0f;
  const auto whole = static_cast<int>(step);
  const float rest = step - static_cast<float>(whole);  // halves go away from zero
  row[at] = static_cast<int8_t>(whole + (rest >= 0.5f) - (rest <= -0.5f));
  if (at % kWarp == 0) reinterpret_cast<F16*>(row + dim)[at / kWarp] = Narrow<F16>(scale);
}

/// The same where pages hold blocks, of keys (y = 0) or values (1).
__global__ void __launch_bounds__(kCopyThreads)
    StoreKvBlocks(const float* k, const float* v, int64_t stride, int64_t row_count, int64_t heads,
                  int64_t dim, PagedKeys<int8_t> pages) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kCopyThreads + threadIdx.x;
  if (i >= row_count * heads * dim) return;  // a whole warp
  const int64_t row = i / (heads * dim), column = i % (heads * dim);
  const int64_t head = column / dim, position = pages.Seen(row) - 1;
  const float x = (blockIdx.y == 0 ? k : v)[row * stride + column];
  int8_t* to = blockIdx.y == 0 ? pages.Keys(row, head, position) : pages.Values(row, head, position);
  StoreStep(x, to, dim, column % dim);
}

/// Rows of queries q [rows, heads · 2 · half], keys and values k, v [rows, kv_heads · 2 · half] of the same
/// stride, and the angles of positions, cos and sin [positions, half].
struct Rotation {
  float *q, *k;
  const float* v;
  int64_t stride;
  const float *cos, *sin;
  int64_t heads, kv_heads, half;

  /// Of a row: element i of a head with i + half, of all three.
  __host__ __device__ int64_t pairs() const { return (heads + 2 * kv_heads) * half; }
};

/// Queries and keys rotated in place by their rows' positions, then keys and values to the pages, rounded; to
/// blocks StoreKvBlocks brings them. A thread for each of rows · pairs() pairs.
template <class T>
__global__ void __launch_bounds__(kCopyThreads)
    RotateStoreRows(const __grid_constant__ Rotation r, int64_t row_count, const PagedKeys<T> pages) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kCopyThreads + threadIdx.x;
  if (i >= row_count * r.pairs()) return;
  const int64_t row = i / r.pairs(), head = i / r.half % (r.heads + 2 * r.kv_heads), pair = i % r.half;
  const int64_t position = pages.Seen(row) - 1;
  const auto rotate = [&](float* low, float* high) {
    const float a = *low, b = *high;
    const float c = r.cos[position * r.half + pair], s = r.sin[position * r.half + pair];
    *low = a * c - b * s;
    *high = b * c + a * s;
  };
  const auto store = [&](const float* low, const float* high, T* to) {
    if constexpr (!std::is_same_v<T, int8_t>) {
      to[pair] = Narrow<T>(*low);
      to[pair + r.half] = Narrow<T>(*high);
    }
  };
  if (head < r.heads) {
    float* low = r.q + row * r.stride + head * 2 * r.half + pair;
    rotate(low, low + r.half);
    return;
  }
  const int64_t kv_head = (head - r.heads) % r.kv_heads;
  const int64_t at = row * r.stride + kv_head * 2 * r.half + pair;
  if (head < r.heads + r.kv_heads) {
    rotate(r.k + at, r.k + at + r.half);
    store(r.k + at, r.k + at + r.half, pages.Keys(row, kv_head, position));
  } else {
    store(r.v + at, r.v + at + r.half, pages.Values(row, kv_head, position));
  }
}

}  // namespace bifrons::cuda
