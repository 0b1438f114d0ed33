// Requests in, pictures out: prefill, the decode loop over one batch of guidance pairs, VQ decoding.
// generation_inference.py: generate
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/base/tensor.h"
#include "src/engine/sampler.h"
#include "src/model/janus.h"

namespace bifrons {

/// One picture.
struct DrawRequest {
  std::string prompt;
  uint64_t seed = 0;
  Sampling sampling;
};

struct DrawnPicture {
  std::vector<int32_t> codes;  // [grid²], row by row
  Tensor pixels;               // f32 [height, width, 3], nominally −1…1
};

/// What one call of Draw did, for `-v` and bench.
struct DrawStats {
  double prefill_seconds = 0, decode_seconds = 0, vq_seconds = 0;
  int64_t prompt_tokens = 0;  // prefilled rows, both halves of the pairs
  int64_t steps = 0;          // forward passes over the batch
  int64_t image_tokens = 0;   // sampled
  size_t bytes_read = 0;      // weights and caches read by the decode steps

  DrawStats& operator+=(const DrawStats& o);
};

/// Called after every step and every decoded picture; false stops the drawing.
struct DrawProgress {
  int64_t step = 0, steps = 0;        // image tokens of this batch
  int64_t decoded = 0, pictures = 0;  // pictures of this batch
};
using DrawCallback = std::function<bool(const DrawProgress&)>;

/// Refuses what this model can never draw: a prompt longer than its positions. An error names the numbers.
Status CheckPrompt(Janus& janus, const std::string& prompt);

/// Pictures that fit into `bytes` of caches and activations at once; at least 1.
int64_t PicturesPerBatch(Janus& janus, int64_t longest_prompt, size_t bytes);

/// Draws all requests as one batch. Tokens and pixels of a request do not depend on the others. Pictures of
/// one prompt share its prefill.
Result<std::vector<DrawnPicture>> Draw(Janus& janus, std::span<const DrawRequest> requests,
                                       const DrawCallback& progress, DrawStats* stats);

}  // namespace bifrons
