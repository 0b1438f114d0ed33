// From logits to one token: guidance, temperature, masks, Gumbel-max.
#pragma once

#include <cstdint>
#include <vector>

namespace bifrons {

struct Sampling {
  float guidance = 5;  // classifier-free guidance weight w: u + w·(c − u); 1 = the conditional logits alone
  float temperature = 1;  // 0 = guided greedy
  int top_k = 0;          // keep the k largest; 0 = all
  float top_p = 1;        // keep the smallest set with at least this probability; 1 = all
  float min_p = 0;        // drop below min_p · the largest probability; 0 = none
};

/// The largest seed: JSON numbers hold integers up to 2⁵³ exactly.
constexpr int64_t kMaxSeed = (int64_t{1} << 53) - 1;

/// Keeps the noise of different uses of one seed apart.
enum class NoiseStream : uint32_t { kImageTokens = 0, kText = 1 };

/// Standard Gumbel noise of one (seed, position, token): the same wherever and whenever it is asked for.
double GumbelNoise(uint64_t seed, uint32_t position, uint32_t index,
                   NoiseStream stream = NoiseStream::kImageTokens);

/// Draws tokens; holds the buffers of one caller.
class Sampler {
 public:
  /// conditional, unconditional: raw logits [n]. The token at `position` is a function of the arguments
  /// alone: argmax of guided/temperature + GumbelNoise over the tokens that the masks leave, which is an
  /// exact draw from their softmax. Ties go to the lower index.
  int32_t Sample(const float* conditional, const float* unconditional, int64_t n, const Sampling& sampling,
                 uint64_t seed, uint32_t position);

  /// The same for a text token, of logits [n]; there is no guidance. `position` counts the answer's tokens.
  int32_t SampleText(const float* logits, int64_t n, const Sampling& sampling, uint64_t seed,
                     uint32_t position);

 private:
  int32_t Draw(const Sampling& sampling, uint64_t seed, uint32_t position, NoiseStream stream);
  void Mask(const Sampling& sampling);
  std::vector<float> logits_;  // guided, divided by temperature; −∞ where masked
  std::vector<int32_t> order_;
};

}  // namespace bifrons
