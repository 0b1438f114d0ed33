// Where sums of products go: bias, epilogue, output.
#pragma once

#include "kernels/cuda/numerics.cuh"
#include "kernels/queue.h"

namespace bifrons::cuda {

struct Results {
  const float* bias;  // [out], or null
  int64_t out, rows;
  Epilogue epilogue;
  float* y;  // [rows, width]
  /// From a row of y to the next, of a part of a matrix more than its width. PrefillTiles has no parts.
  int64_t stride;

  __host__ __device__ bool is_gated() const { return epilogue == Epilogue::kSiluMul; }
  /// Of y: of kSiluMul half of `out`, the gates.
  __device__ __forceinline__ int64_t width() const { return is_gated() ? out / 2 : out; }
  /// The bias of a column of the matrix, if there are any.
  __device__ __forceinline__ float BiasOf(int64_t column) const {
    return bias != nullptr && column < out ? bias[column] : 0.0f;
  }
  /// What comes of a sum with its bias; of kSiluMul `gated` is the one that it gates, of kAdd `old` what it
  /// is added to.
  __device__ __forceinline__ float Of(float product, float gated, float old) const {
    switch (epilogue) {
      case Epilogue::kNone:
        return product;
      case Epilogue::kAdd:
        return old + product;
      case Epilogue::kGelu:
        return Gelu(product);
      case Epilogue::kSiluMul:
        return Silu(product) * gated;
    }
    return 0;
  }
  /// Writes a column of a row, if there are such. `gated` is of use for kSiluMul alone: the sum of row
  /// width + column of the matrix.
  __device__ __forceinline__ void Finish(int64_t row, int64_t column, float sum, float gated) const {
    if (row >= rows || column >= width()) return;
    float* result = y + row * stride + column;
    *result = Of(sum + BiasOf(column), gated + BiasOf(width() + column),
                 epilogue == Epilogue::kAdd ? *result : 0.0f);
  }
};

}  // namespace bifrons::cuda
