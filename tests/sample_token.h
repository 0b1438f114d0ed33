// SampleRow with memory of its own.
#pragma once

#include <vector>

#include "kernels/sample_row.h"

namespace bifrons {

/// A draw, and the logits it was made from: guided, divided by the temperature, −∞ where masked.
struct SampledToken {
  int32_t token = kNoToken;
  std::vector<float> values;
};

inline SampledToken SampleToken(const float* conditional, const float* unconditional, int64_t n,
                                const Sampling& sampling, const NoiseKey& key) {
  SampledToken sampled;
  sampled.values.resize(static_cast<size_t>(n));
  std::vector<uint64_t> buckets(kSampleBuckets);
  sampled.token =
      SampleRow(conditional, unconditional, n, sampling, key, {sampled.values.data(), buckets.data()});
  return sampled;
}

}  // namespace bifrons
