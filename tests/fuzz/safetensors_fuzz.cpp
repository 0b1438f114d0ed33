// Any bytes as a safetensors file: what is accepted lies within them.
#include <cstdint>

#include "src/model/checkpoint/safetensors.h"
#include "tests/fuzz/touch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  bifrons::TouchAll(bifrons::ReadSafetensors({data, size}, "fuzz"));
  return 0;
}
