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

  __host__ __device__ bool is_gated() const { return epilogue == Epilogue::kSiluMul; }
  /// Of y: of kSiluMul half of `out`, the gates.
  __device__ __forceinline__ int64_t width() const { return is_gated() ? out / 2 : out; }
  /// Writes a column of a row, if there are such. `gated` is of use for kSiluMul alone: the sum of row
  /// width + column of the matrix.
  __device__ __forceinline__ void Finish(int64_t row, int64_t column, float sum, float gated) const {
    if (row >= rows || column >= width()) return;
    float* result = y + row * width() + column;
    const float product = bias != nullptr ? sum + bias[column] : sum;
    switch (epilogue) {
      case Epilogue::kNone:
        *result = product;
        break;
      case Epilogue::kAdd:
        *result += product;
        break;
      case Epilogue::kGelu:
        *result = Gelu(product);
        break;
      case Epilogue::kSiluMul:
        *result = Silu(product) * (bias != nullptr ? gated + bias[width() + column] : gated);
        break;
    }
  }
};

}  // namespace bifrons::cuda
