// Kernels that copy rows: other types, other places, one value, a table's rows.
#pragma once

#include "kernels/cuda/memory.h"
#include "kernels/cuda/numerics.cuh"

namespace bifrons::cuda {

constexpr int kCopyThreads = 256;

/// Rows of `width` numbers, `stride` numbers apart.
template <class T>
struct Rows {
  T* data;
  int64_t stride;
};

template <class T>
Rows<T> RowsOf(const View& v) {
  return {reinterpret_cast<T*>(Bytes(v)), v.stride};
}

/// to[r, :] = from[r, :], rounded or widened. A thread for each of rows · width numbers.
template <class From, class To>
__global__ void __launch_bounds__(kCopyThreads)
    ConvertRows(Rows<const From> from, int64_t rows, int64_t width, Rows<To> to) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kCopyThreads + threadIdx.x;
  if (i >= rows * width) return;
  const int64_t row = i / width, column = i % width;
  to.data[row * to.stride + column] = Narrow<To>(Widen(from.data[row * from.stride + column]));
}

/// to[r, :] = value. A thread for each of rows · width numbers.
template <class T>
__global__ void __launch_bounds__(kCopyThreads) FillRows(T value, int64_t rows, int64_t width, Rows<T> to) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kCopyThreads + threadIdx.x;
  if (i < rows * width) to.data[i / width * to.stride + i % width] = value;
}

/// Numbers of rows as an argument: no memory of the device is needed for them.
struct RowNumbers {
  static constexpr int kMost = 512;
  int32_t rows[kMost];
};

/// to[r, :] = from[numbers[r], :]. A block for each r. T is any type of the numbers' size.
template <class T>
__global__ void __launch_bounds__(kCopyThreads)
    CopyNumberedRows(Rows<const T> from, const __grid_constant__ RowNumbers numbers, int64_t width,
                     Rows<T> to) {
  const T* source = from.data + numbers.rows[blockIdx.x] * from.stride;
  T* target = to.data + blockIdx.x * to.stride;
  for (int64_t i = threadIdx.x; i < width; i += kCopyThreads) target[i] = source[i];
}

/// to[r, :] = table[max(0, ids[r]), :], `width` contiguous numbers; NaN where the table ends before. A block
/// for each r. The table may stand in the host's memory.
template <class Stored, class To>
__global__ void __launch_bounds__(kCopyThreads)
    LookUpRows(const Stored* table, int64_t table_rows, Rows<const int32_t> ids, int64_t width, To* to) {
  const int64_t id = max(0, ids.data[blockIdx.x * ids.stride]);
  const Stored* source = table + id * width;
  To* target = to + blockIdx.x * width;
  for (int64_t i = threadIdx.x; i < width; i += kCopyThreads) {
    target[i] = Narrow<To>(id < table_rows ? Widen(source[i]) : FloatOf(0x7FC00000u));
  }
}

}  // namespace bifrons::cuda
