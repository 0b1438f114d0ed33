// Convolutions of the cpu backend: our own to three channels and, with many pixels, by Winograd's method; the
// rest through oneDNN.
//
// For oneDNN a map is cut into stripes of whole lines whose number depends on its shape alone. Our pool deals
// them out and each is one single-threaded oneDNN primitive, so that libgomp's team stays asleep, a stripe's
// data stays in a core's cache, and the bits do not depend on the thread count.
#pragma once

#include <memory>

#include "kernels/cpu/map_kernels.h"
#include "kernels/ops.h"

namespace bifrons::cpu {

/// How the instruction set multiplies bf16.
enum class BF16Products : uint8_t { kNone, kVectors, kTiles };

/// Ops::pack_conv. Without native products, and for weights that bf16 cannot hold, bf16 maps are widened to
/// f32 as they are read.
std::unique_ptr<Conv2d> PackConv(ThreadPool& pool, const MapKernels& kernels, BF16Products bf16,
                                 const ConvShape& shape, TensorView weight, TensorView bias, DType compute);

/// Ops::conv2d, for what PackConv returned.
void Convolve(ThreadPool& pool, const Conv2d& conv, TensorView in, TensorView residual, Tensor& out);

}  // namespace bifrons::cpu
