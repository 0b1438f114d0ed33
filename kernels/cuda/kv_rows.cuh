// Where kernels find keys and values, and the kernels that prepare and store them.
#pragma once

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
  static constexpr bool aligned = true;  // every row to 16 bytes

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
    uint8_t* page = places.pages[places.rows[batch_row].first_page + at / page_positions];
    return reinterpret_cast<T*>(page + begin) + in_page * row;
  }
  __device__ __forceinline__ T* Keys(int64_t batch_row, int64_t head, int64_t position) const {
    return At(keys, batch_row, head, position);
  }
  __device__ __forceinline__ T* Values(int64_t batch_row, int64_t head, int64_t position) const {
    return At(values, batch_row, head, position);
  }
};

/// x [rows, heads · 2 · half] rotated in place: element i of a head with i + half, by the row's position in
/// cos and sin [positions, half]. A thread for each of rows · heads · half pairs.
__global__ void __launch_bounds__(kCopyThreads)
    RotateRows(Rows<float> x, const KvRow* rows, const float* cos, const float* sin, int64_t row_count,
               int64_t heads, int64_t half) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kCopyThreads + threadIdx.x;
  if (i >= row_count * heads * half) return;
  const int64_t row = i / (heads * half), head = i / half % heads, pair = i % half;
  const int64_t angle = rows[row].position * half + pair;
  float* low = x.data + row * x.stride + head * 2 * half + pair;
  float* high = low + half;
  const float a = *low, b = *high, c = cos[angle], s = sin[angle];
  *low = a * c - b * s;
  *high = b * c + a * s;
}

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

}  // namespace bifrons::cuda
