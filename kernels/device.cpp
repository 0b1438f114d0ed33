#include "kernels/device.h"

namespace bifrons {

View Grown(Device& device, DeviceTensor& tensor, int64_t rows, int64_t width) {
  if (tensor.bytes() < static_cast<size_t>(rows * width) * SizeOf(DType::kF32)) {
    tensor = {};  // first, so that both never take memory at once
    tensor = device.NewTensor(DType::kF32, {rows, width});
  }
  tensor.Reshape({rows, width});
  return tensor.view();
}

}  // namespace bifrons
