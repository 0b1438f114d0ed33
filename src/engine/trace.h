// The numbers behind every image token (teacher forcing) and behind an answer, for debugging ports and for
// tests.
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
  Tensor pixels;  // f32 [height, width, 3], the decoder's raw output; empty without a decoder or unless all
                  // tokens are given
  // Where layers are asked for, the prompts' hidden states f32 [layers + 2, prompt, hidden]: what enters the
  // first layer, what leaves each layer, and what the final norm makes of the last ones.
  Tensor hidden_conditional, hidden_unconditional;
};

/// Runs the model over `codes` [1…grid²] as if it had drawn them, on the path that generate takes; `layers`
/// asks for the hidden states. Errors: a code outside the codebook, too many of them.
Result<Trace> TraceCodes(Janus& janus, const std::string& prompt, std::span<const int32_t> codes,
                         bool layers = false);

/// What an answer about images rests on. Arrays of one image have no leading dimension.
struct AnswerTrace {
  std::vector<int32_t> ids;   // the whole prompt, placeholders included
  Tensor pixel_values;        // f32 [images, 3, size, size]
  Tensor vision;              // f32 [images, patches, vision width]: the tower's output
  Tensor aligned;             // f32 [images, patches, hidden]: what the transformer sees
  std::vector<float> logits;  // [vocabulary], of the answer's first token
  Tensor vq_codes;            // i32 [images, grid²]; empty when the VQ encoder is not loaded
  // Where layers are asked for, as in Trace:
  Tensor hidden;         // f32 [layers + 2, prompt, hidden]
  Tensor vision_hidden;  // f32 [images, the tower's layers + 2, patches, vision width]
};

/// Runs a question about images on the path that answers take; `layers` asks for the hidden states. Errors:
/// CheckContext's.
Result<AnswerTrace> TraceAnswer(Janus& janus, std::span<const Image> images, const std::string& question,
                                bool layers = false);

}  // namespace bifrons
