// Seeded random weights of a published geometry: benchmarks and tests without a download.
#pragma once

#include <memory>
#include <string>

#include "src/base/result.h"
#include "src/model/weight_source.h"

namespace bifrons {

/// "random:janus-pro-1b", "random:janus-pro-7b" (or "random:janus-1.3b"): bf16 weights, made tensor by tensor
/// when asked for. A value depends on the tensor's name and the element's index only. Norms are 1; the rest
/// is close to normal with a spread that keeps activations, logits and pixels of order 1. kUsage for another
/// name.
Result<std::unique_ptr<WeightSource>> OpenRandomWeights(const std::string& model);

/// The same for any geometry; `layout` of the config is ignored. For tests.
std::unique_ptr<WeightSource> MakeRandomWeights(const JanusConfig& config);

}  // namespace bifrons
