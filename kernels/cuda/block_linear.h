// Matrices in blocks (src/base/blocks.h) of the cuda device.
#pragma once

#include <span>

#include "kernels/cuda/linear.h"

namespace bifrons::cuda {

/// Packs parts of one type in blocks, stacked, into `to`, which says what they are.
void PackBlocks(DeviceMemory& memory, std::span<const TensorView> parts, CudaRows& to);

/// Memory for QuantizedRows of rows [rows, in].
size_t QuantizedBytes(int64_t rows, int64_t in);
/// Rows x, normed where there is a norm, as small integers into `to`.
void Quantize(cudaStream_t stream, const View& x, const RowNorm& norm, uint8_t* to);

/// A product of rows that Quantize left in `x`.
void MultiplyInBlocks(cudaStream_t stream, const CudaRows& weights, uint8_t* x, const Results& results);

/// y [rows, width] = silu(gates) · what they gate, of products [rows, 2 · width].
void Gate(cudaStream_t stream, const float* products, int64_t rows, int64_t width, float* y);

}  // namespace bifrons::cuda
