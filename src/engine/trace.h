// Teacher forcing: the numbers behind every image token, for debugging ports and for tests.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/base/tensor.h"
#include "src/model/janus.h"

namespace bifrons {

struct Trace {
  DrawingPrompt prompt;
  Tensor logits_conditional;    // f32 [tokens, codebook_size]; row i predicts image token i
  Tensor logits_unconditional;  // the same for the unconditional half
  Tensor pixels;  // f32 [height, width, 3], the decoder's raw output; empty unless all tokens are given
};

/// Runs the model over `codes` [1…grid²] as if it had drawn them, on the path that generate takes. Errors: a
/// code outside the codebook, too many of them.
Result<Trace> TraceCodes(Janus& janus, const std::string& prompt, std::span<const int32_t> codes);

}  // namespace bifrons
