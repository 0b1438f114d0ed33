// Any bytes as a .npy file: what is accepted has as many elements as it says.
#include <cstdint>

#include "src/base/check.h"
#include "src/base/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto tensor = bifrons::ParseNpy({data, size}, "fuzz");
  if (!tensor.ok()) {
    BIFRONS_CHECK(tensor.error().message.find('\n') == std::string::npos);
    return 0;
  }
  const bifrons::TensorView view = tensor->view();
  static volatile uint8_t sum;
  uint8_t s = 0;
  for (size_t i = 0; i < view.bytes(); i++)
    s = static_cast<uint8_t>(s + static_cast<const uint8_t*>(view.data)[i]);
  sum = s;
  return 0;
}
