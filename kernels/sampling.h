// How a token is drawn: what a request may choose, and which noise it takes.
#pragma once

#include <cstdint>

namespace bifrons {

struct Sampling {
  float guidance = 5;  // classifier-free guidance weight w: u + w·(c − u); 1 = the conditional logits alone
  float temperature = 1;  // 0 = guided greedy
  int top_k = 0;          // keep the k largest; 0 = all
  float top_p = 1;        // 0…1: keep the smallest set with at least this probability; 1 = all
  float min_p = 0;        // 0…1: drop below min_p · the largest probability; 0 = none
};

/// The largest seed: JSON numbers hold integers up to 2⁵³ exactly.
constexpr int64_t kMaxSeed = (int64_t{1} << 53) - 1;

/// Keeps the noise of different uses of one seed apart.
enum class NoiseStream : uint32_t { kImageTokens = 0, kText = 1 };

/// Names the noise of one draw: the same wherever and whenever it is asked for.
struct NoiseKey {
  uint64_t seed = 0;
  uint32_t position = 0;  // of the token in its picture or answer, from 0
  NoiseStream stream = NoiseStream::kImageTokens;
};

}  // namespace bifrons
