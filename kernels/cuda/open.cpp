#include "kernels/cuda/open.h"

#include <cuda_runtime.h>

#include <string>

#include "kernels/cuda/device.h"
#include "src/base/out_of_memory.h"

namespace bifrons::cuda {
namespace {

constexpr int kOldestCapability = 75;  // Turing: what the kernels are compiled for

// 13000 → "13.0"
std::string Version(int number) {
  return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

Status Failed(const char* what, cudaError_t error) {
  return Failure(std::string("CUDA: ") + what + ": " + cudaGetErrorString(error) +
                 "; look at what nvidia-smi says, or use --device cpu");
}

Status CheckDriver(int* count) {
  const cudaError_t error = cudaGetDeviceCount(count);
  cudaGetLastError();
  if (error == cudaErrorNoDevice || (error == cudaSuccess && *count == 0))
    return UsageError("the NVIDIA driver shows no GPU ($CUDA_VISIBLE_DEVICES hides those it does not name)");
  if (error == cudaErrorInsufficientDriver) {
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (driver == 0) return UsageError("there is no NVIDIA driver");
    return Failure("the NVIDIA driver knows CUDA " + Version(driver) + ", and this build needs " +
                   Version(runtime) + ": update the driver, or use --device cpu");
  }
  if (error != cudaSuccess) return Failed("the driver", error);
  return {};
}

Status CheckDevice(int index) {
  int major = 0, minor = 0, pools = 0;
  for (const auto& [attribute, value] : {std::pair{cudaDevAttrComputeCapabilityMajor, &major},
                                         std::pair{cudaDevAttrComputeCapabilityMinor, &minor},
                                         std::pair{cudaDevAttrMemoryPoolsSupported, &pools}}) {
    if (const cudaError_t error = cudaDeviceGetAttribute(value, attribute, index); error != cudaSuccess)
      return Failed("the GPU's properties", error);
  }
  const std::string gpu = "GPU " + std::to_string(index);
  if (10 * major + minor < kOldestCapability) {
    return Failure(gpu + " has compute capability " + std::to_string(major) + "." + std::to_string(minor) +
                   ", and the kernels need 7.5 (Turing) or newer: use --device cpu");
  }
  if (pools == 0)
    return Failure(gpu + " has no memory pools, as some virtual GPUs have none: use --device cpu");
  return {};
}

}  // namespace

Result<std::unique_ptr<Device>> OpenGpu(int index) {
  int count = 0;
  BIFRONS_RETURN_IF_ERROR(CheckDriver(&count));
  if (index >= count) {
    return UsageError("there is no GPU " + std::to_string(index) + "; the driver shows " +
                      std::to_string(count) + ", from 0 on");
  }
  BIFRONS_RETURN_IF_ERROR(CheckDevice(index));
  return Guarded([&]() -> Result<std::unique_ptr<Device>> { return MakeCudaDevice(index); });
}

}  // namespace bifrons::cuda
