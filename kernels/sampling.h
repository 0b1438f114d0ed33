// What a token is drawn with.
#pragma once

#include <cstdint>

namespace bifrons {

struct Sampling {
  float guidance = 5;  // classifier-free guidance weight w: u + w·(c − u); 1 = the conditional logits alone
  float temperature = 1;  // 0 = guided greedy
  int top_k = 0;          // keep the k largest; 0 = all
  float top_p = 1;        // keep the smallest set with at least this probability; 1 = all
  float min_p = 0;        // drop below min_p · the largest probability; 0 = none
};

/// Keeps the noise of different uses of one seed apart.
enum class NoiseStream : uint32_t { kImageTokens = 0, kText = 1 };

}  // namespace bifrons
