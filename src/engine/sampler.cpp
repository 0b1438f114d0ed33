#include "src/engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>

#include "src/engine/philox.h"

namespace bifrons {
namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();

// −log(−log u) for the midpoint of one of 2³² equal intervals of (0, 1), so that u is never 0 or 1.
double Gumbel(uint32_t bits) { return -std::log(-std::log((static_cast<double>(bits) + 0.5) * 0x1p-32)); }

std::array<uint32_t, 4> NoiseBlock(uint64_t seed, uint32_t position, uint32_t block, NoiseStream stream) {
  return Philox({block, position, static_cast<uint32_t>(stream), 0},
                {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
}

}  // namespace

double GumbelNoise(uint64_t seed, uint32_t position, uint32_t index, NoiseStream stream) {
  return Gumbel(NoiseBlock(seed, position, index / 4, stream)[index % 4]);
}

// In the order of transformers' processors: temperature (done by the caller), top-k, top-p, min-p.
void Sampler::Mask(const Sampling& sampling) {
  const size_t n = logits_.size();
  const bool by_rank = sampling.top_k > 0 && static_cast<size_t>(sampling.top_k) < n;
  if (!by_rank && sampling.top_p >= 1 && sampling.min_p <= 0) return;
  order_.resize(n);
  std::iota(order_.begin(), order_.end(), 0);
  std::sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) {
    const float x = logits_[static_cast<size_t>(a)], y = logits_[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  const auto logit = [&](size_t rank) { return logits_[static_cast<size_t>(order_[rank])]; };
  size_t keep = n;
  if (by_rank) {
    keep = static_cast<size_t>(sampling.top_k);
    while (keep < n && logit(keep) == logit(keep - 1)) keep++;  // ties with the last one stay
  }
  const double largest = logit(0);
  if (sampling.top_p < 1) {
    double total = 0;
    for (size_t i = 0; i < keep; i++) total += std::exp(logit(i) - largest);
    double sum = 0;
    size_t nucleus = 0;
    while (nucleus < keep && (nucleus == 0 || sum < sampling.top_p * total))
      sum += std::exp(logit(nucleus++) - largest);
    keep = nucleus;
  }
  if (sampling.min_p > 0) {
    const double floor = largest + std::log(static_cast<double>(sampling.min_p));
    while (keep > 1 && logit(keep - 1) < floor) keep--;
  }
  for (size_t i = keep; i < n; i++) logits_[static_cast<size_t>(order_[i])] = kMasked;
}

int32_t Sampler::Sample(const float* conditional, const float* unconditional, int64_t n,
                        const Sampling& sampling, uint64_t seed, uint32_t position) {
  logits_.resize(static_cast<size_t>(n));
  const float divisor = sampling.temperature == 0 ? 1 : sampling.temperature;
  for (size_t i = 0; i < logits_.size(); i++) {
    const float u = unconditional[i];
    logits_[i] = (u + sampling.guidance * (conditional[i] - u)) / divisor;
  }
  return Draw(sampling, seed, position, NoiseStream::kImageTokens);
}

int32_t Sampler::SampleText(const float* logits, int64_t n, const Sampling& sampling, uint64_t seed,
                            uint32_t position) {
  logits_.resize(static_cast<size_t>(n));
  const float divisor = sampling.temperature == 0 ? 1 : sampling.temperature;
  for (size_t i = 0; i < logits_.size(); i++) logits_[i] = logits[i] / divisor;
  return Draw(sampling, seed, position, NoiseStream::kText);
}

// One token of logits_.
int32_t Sampler::Draw(const Sampling& sampling, uint64_t seed, uint32_t position, NoiseStream stream) {
  if (sampling.temperature == 0) {
    return static_cast<int32_t>(std::max_element(logits_.begin(), logits_.end()) - logits_.begin());
  }
  Mask(sampling);

  // No noise exceeds this, so a token this far below the best so far cannot win and needs no logarithms.
  static const double most = Gumbel(0xFFFFFFFF);
  double best = -std::numeric_limits<double>::infinity();
  size_t best_index = static_cast<size_t>(std::max_element(logits_.begin(), logits_.end()) - logits_.begin());
  const auto consider = [&](size_t i, uint32_t bits) {
    const double score = logits_[i] + Gumbel(bits);
    if (score > best || (score == best && i < best_index)) best = score, best_index = i;
  };
  consider(best_index,
           NoiseBlock(seed, position, static_cast<uint32_t>(best_index / 4), stream)[best_index % 4]);
  for (size_t block = 0; 4 * block < logits_.size(); block++) {
    const size_t first = 4 * block, last = std::min(first + 4, logits_.size());
    const float largest = *std::max_element(logits_.begin() + static_cast<std::ptrdiff_t>(first),
                                            logits_.begin() + static_cast<std::ptrdiff_t>(last));
    if (largest + most < best) continue;
    const auto bits = NoiseBlock(seed, position, static_cast<uint32_t>(block), stream);
    for (size_t i = first; i < last; i++) {
      if (logits_[i] + most >= best) consider(i, bits[i - first]);
    }
  }
  return static_cast<int32_t>(best_index);
}

}  // namespace bifrons
