// Any bytes as a PyTorch checkpoint: an archive when they begin like one; otherwise a bare pickle, which
// reaches deeper, since mutations rarely keep an archive whole.
#include <cstdint>

#include "src/model/checkpoint/pickle.h"
#include "src/model/checkpoint/pytorch_zip.h"
#include "tests/fuzz/touch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size >= 2 && data[0] == 'P' && data[1] == 'K') {
    bifrons::TouchAll(bifrons::ReadPytorchZip({data, size}, "fuzz"));
  } else {
    (void)bifrons::ReadPickledTensors({data, size}, "fuzz");
  }
  return 0;
}
