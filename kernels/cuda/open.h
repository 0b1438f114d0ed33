// Whether there is a GPU for us, before one is used.
#pragma once

#include <memory>

#include "kernels/device.h"
#include "src/base/result.h"

namespace bifrons::cuda {

/// GPU number `index` of those that the driver shows ($CUDA_VISIBLE_DEVICES chooses among them). Errors, each
/// with what to do: kUsage where there is no driver or no such GPU, kFailure where the driver is older than
/// this build, the GPU older than its kernels, or either broken.
Result<std::unique_ptr<Device>> OpenGpu(int index);

}  // namespace bifrons::cuda
