// Matrices of the cuda device.
#pragma once

#include <memory>
#include <span>

#include "kernels/cuda/memory.h"
#include "kernels/queue.h"

namespace bifrons::cuda {

/// Rows [out, in] of one type, each in `stride` numbers: a multiple of 8, zeros beyond `in`. Parts of unequal
/// types are f32, which holds all of their numbers.
struct CudaLinear : Linear {
  DType stored = DType::kF32;
  int64_t stride = 0;
  std::unique_ptr<CudaBuffer> rows;
  std::unique_ptr<CudaBuffer> bias;  // f32 [out], or null
};

/// Device::PackLinear.
std::unique_ptr<Linear> PackLinear(DeviceMemory& memory, std::span<const TensorView> parts, TensorView bias,
                                   DType compute);

/// Queue::Multiply, of contiguous rows x and y.
void Multiply(cudaStream_t stream, const CudaLinear& linear, const View& x, RowClass row_class,
              Epilogue epilogue, const View& y);

}  // namespace bifrons::cuda
