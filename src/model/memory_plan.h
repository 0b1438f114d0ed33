// How much memory a model takes: for `info`, and to refuse before the system would.
#pragma once

#include <cstdint>

#include "src/base/result.h"
#include "src/model/load_options.h"
#include "src/model/tensor_table.h"
#include "src/model/weight_source.h"

namespace bifrons {

/// Bytes, and parameters per part.
struct MemoryPlan {
  struct PartSize {
    int64_t parameters = 0;
    uint64_t bytes = 0;  // as stored
  };
  PartSize parts[5];         // by Part
  uint64_t weights = 0;      // what the wanted parts keep in memory, packed
  uint64_t kv_cache = 0;     // keys and values in whole pages: two rows a picture, one an image asked about
  uint64_t activations = 0;  // rows' buffers and the largest feature maps of one picture

  const PartSize& part(Part p) const { return parts[static_cast<int>(p)]; }
  uint64_t total() const { return weights + kv_cache + activations; }
};

/// Longest answer that is planned for: the program's default.
constexpr int64_t kPlannedAnswerTokens = 512;

/// For drawing `images` pictures at once after prompts of `prompt_tokens`, or answering about as many images.
MemoryPlan PlanMemory(const WeightSource& source, DType compute, const ModelParts& parts, int64_t images,
                      int64_t prompt_tokens = 64);

/// kFailure with the numbers when one picture's plan exceeds AvailableMemory().
Status CheckMemory(const WeightSource& source, DType compute, const ModelParts& parts);
/// The same against a given limit.
Status CheckMemory(const WeightSource& source, DType compute, const ModelParts& parts, uint64_t available);

}  // namespace bifrons
