// One token from one row of logits: guidance, temperature, masks, Gumbel-max.
#pragma once

#include <cstdint>

#include "kernels/sampling.h"

namespace bifrons {

/// The longest row: its weights' sum stays below 2⁶⁴ (see sample_row.cpp).
constexpr int64_t kMaxSampledRow = int64_t{1} << 22;

/// The value of a row that has no token.
constexpr int32_t kNoToken = -1;

constexpr int64_t kSampleBuckets = 2048;

/// Memory that SampleRow works in; one row at a time.
struct SampleScratch {
  float* values = nullptr;      // [n]; afterwards guided/temperature, −∞ where a mask dropped the token
  uint64_t* buckets = nullptr;  // [kSampleBuckets]
};

/// The token of logits [n], 1 ≤ n ≤ kMaxSampledRow: with u = `unconditional` and c = `conditional`, the
/// argmax of (u + guidance·(c − u)) / temperature + GumbelNoise over the tokens that the masks leave, which
/// is an exact draw from their softmax. `unconditional` may be null: then c stands alone. Masks in the order
/// of transformers' processors: top-k (ties with the k-th stay), top-p (tokens by falling logit, then rising
/// index, until their share is reached; at least one), min-p. A function of the arguments alone; allocates
/// nothing.
///
/// Ties go to the lower index. A token of +∞ is certain; one of −∞ is drawn only when all are (index 0).
/// kNoToken when a guided logit is NaN.
int32_t SampleRow(const float* conditional, const float* unconditional, int64_t n, const Sampling&,
                  const NoiseKey&, const SampleScratch&);

}  // namespace bifrons
