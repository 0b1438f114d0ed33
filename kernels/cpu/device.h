// The cpu device: SIMD chosen once at start, oneDNN where it is ahead, one pool of threads.
#pragma once

#include <memory>

#include "kernels/cpu/isa.h"
#include "kernels/device.h"

namespace bifrons::cpu {

/// `isa` must be one of SupportedIsas().
std::unique_ptr<Device> MakeCpuDevice(Isa isa, int threads);

}  // namespace bifrons::cpu
