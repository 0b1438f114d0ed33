// The cuda device: an NVIDIA GPU, its memory and its streams.
#pragma once

#include <memory>

#include "kernels/device.h"

namespace bifrons::cuda {

/// GPU number `index` of those that the driver shows. Throws std::runtime_error with a line where there is
/// none or it fails.
std::unique_ptr<Device> MakeCudaDevice(int index);

}  // namespace bifrons::cuda
