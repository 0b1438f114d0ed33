// Any bytes as a GGUF: what is accepted lies within them, and its tensors are shapes for its config.
#include <cstdint>

#include "src/model/checkpoint/gguf.h"
#include "src/model/config.h"
#include "tests/fuzz/touch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto gguf = bifrons::ReadGguf({data, size}, "fuzz");
  if (!gguf.ok()) return 0;
  bifrons::TensorShapes shapes;
  for (const auto& [name, tensor] : gguf->tensors) shapes[name] = tensor.dims;
  (void)bifrons::ParseGgufConfig(gguf->Find("janus.config_json"), shapes, "fuzz");
  bifrons::TouchAll(std::move(gguf->tensors));
  return 0;
}
