// Matrices of the cuda device.
#pragma once

#include <memory>
#include <span>

#include "kernels/cuda/memory.h"
#include "kernels/cuda/row_norm.cuh"
#include "kernels/queue.h"

namespace bifrons::cuda {

/// Rows [out, in] of one type, each in `stride` numbers: a multiple of 8, zeros beyond `in`. Parts of unequal
/// types are f32, which holds all of their numbers. Or tiles for tensor cores (tile_products.cuh): of bf16
/// that computes in bf16, where the GPU has them, `out` is a multiple of 32 and `in` of 16.
struct CudaLinear : Linear {
  DType stored = DType::kF32;
  int64_t stride = 0;
  bool is_tiles = false;
  std::unique_ptr<CudaBuffer> numbers;
  std::unique_ptr<CudaBuffer> bias;  // f32 [out], or null
};

/// Device::PackLinear, for a GPU that has tensor cores for bf16 or not.
std::unique_ptr<Linear> PackLinear(DeviceMemory& memory, bool has_tiles, std::span<const TensorView> parts,
                                   TensorView bias, DType compute);

/// Numbers of bf16 that Multiply needs for itself.
int64_t MultiplyScratch(const CudaLinear& linear, const View& x, const RowNorm& norm, RowClass row_class);
/// Queue::Multiply, of contiguous rows x and y, and MultiplyNormed of RowClass::kDecode.
void Multiply(cudaStream_t stream, const CudaLinear& linear, const View& x, const RowNorm& norm,
              RowClass row_class, Epilogue epilogue, BF16* scratch, const View& y);

}  // namespace bifrons::cuda
