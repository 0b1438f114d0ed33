// Convolutions of the cpu backend: our own to three channels and, with many pixels, by Winograd's method; the
// rest through oneDNN.
//
// For oneDNN a map is cut into stripes of whole lines whose number depends on its shape alone. Our pool deals
// them out and each is one single-threaded oneDNN primitive, so that libgomp's team stays asleep, a stripe's
// data stays in a core's cache, and the bits do not depend on the thread count.
#pragma once

#include <memory>

#include "kernels/cpu/workspace.h"
#include "kernels/queue.h"

namespace bifrons::cpu {

/// Device::PackConv. Without native products, and for weights that bf16 cannot hold, bf16 maps are widened to
/// f32 as they are read.
std::unique_ptr<Conv2d> PackConv(Isa, ThreadPool&, const ConvShape& shape, TensorView weight,
                                 TensorView bias);

/// Queue::Convolve, for what PackConv returned.
void Convolve(Workspace&, const Conv2d& conv, const View& in, const View& residual, const View& out);

}  // namespace bifrons::cpu
