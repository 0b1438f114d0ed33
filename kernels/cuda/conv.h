// Convolutions of the cuda device, as products: every pixel's patch of the input with the weights, which are
// unfolded tile by tile as the kernel goes.
#pragma once

#include <memory>

#include "kernels/cuda/memory.h"
#include "kernels/weights.h"

namespace bifrons::cuda {

/// Device::PackConv, for a GPU that has tensor cores for bf16 or not. Weights that bf16 holds are kept in
/// bf16, whatever their type was.
std::unique_ptr<Conv2d> PackConv(DeviceMemory& memory, bool has_tiles, const ConvShape& shape,
                                 TensorView weight, TensorView bias);

/// Whether bf16 has all of these numbers.
bool Bf16Holds(const TensorView& numbers);

/// Queue::Convolve, for what PackConv returned.
void Convolve(cudaStream_t stream, const Conv2d& conv, const View& in, const View& residual, const View& out);

}  // namespace bifrons::cuda
