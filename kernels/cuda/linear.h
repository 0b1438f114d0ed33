// Matrices of the cuda device.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kernels/cuda/memory.h"
#include "kernels/cuda/results.cuh"
#include "kernels/cuda/row_norm.cuh"
#include "kernels/queue.h"

namespace bifrons::cuda {

/// Rows [first, first + out) of a matrix, all of one type, each in `stride` numbers: a multiple of 8, zeros
/// beyond `in`. Or tiles for tensor cores (tile_products.cuh): of bf16 that computes in bf16, where the GPU
/// has them, `out` is a multiple of 32 and `in` of 16. Or tiles of blocks (blocks.cuh).
struct CudaRows {
  int64_t first = 0, out = 0, in = 0;
  DType stored = DType::kF32, compute = DType::kF32;
  int64_t stride = 0;
  bool is_tiles = false;
  std::unique_ptr<CudaBuffer> numbers;
  size_t bytes = 0, scales_at = 0;  // of `numbers`; of blocks where the scales begin
  const float* bias = nullptr;      // [out], or null
};

/// Plain parts of unequal types are f32, which holds all of their numbers. Where there are parts in blocks
/// nothing is widened: neighbours of one type are packed together.
struct CudaLinear : Linear {
  std::vector<CudaRows> parts;       // stacked along out
  std::unique_ptr<CudaBuffer> bias;  // f32 [out], or null
};

/// Device::PackLinear, for a GPU that has tensor cores for bf16 or not.
std::unique_ptr<Linear> PackLinear(DeviceMemory& memory, bool has_tiles, std::span<const TensorView> parts,
                                   TensorView bias, DType compute);

/// Whether Multiply norms rows of this class itself.
bool NormsRows(const CudaLinear& linear, RowClass row_class);
/// Bytes that Multiply needs for itself.
size_t MultiplyScratch(const CudaLinear& linear, const View& x, const RowNorm& norm, RowClass row_class,
                       Epilogue epilogue);
/// Queue::Multiply, of contiguous rows x and y, and MultiplyNormed where NormsRows. `scratch` is aligned to
/// 256 bytes.
void Multiply(cudaStream_t stream, const CudaLinear& linear, const View& x, const RowNorm& norm,
              RowClass row_class, Epilogue epilogue, uint8_t* scratch, const View& y);

}  // namespace bifrons::cuda
