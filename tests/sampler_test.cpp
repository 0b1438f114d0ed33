// Philox against Random123's published vectors; sampling against a naive softmax over the same masks.
#include "src/engine/sampler.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "src/engine/philox.h"

namespace bifrons {
namespace {

// kat_vectors of Random123 1.14: philox4x32 10 rounds.
TEST_CASE("Philox gives the published vectors") {
  using Block = std::array<uint32_t, 4>;
  CHECK(Philox({0, 0, 0, 0}, {0, 0}) == Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(Philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
        Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

struct Logits {
  std::vector<float> conditional, unconditional;
};

Logits RandomLogits(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 1.5f);
  Logits l;
  for (size_t i = 0; i < n; i++)
    l.conditional.push_back(normal(random)), l.unconditional.push_back(normal(random));
  return l;
}

// What the masks and the softmax must leave, computed the slow way.
std::vector<double> Probabilities(const Logits& l, const Sampling& s) {
  const size_t n = l.conditional.size();
  std::vector<double> x(n);
  for (size_t i = 0; i < n; i++) {
    const float u = l.unconditional[i];
    x[i] = static_cast<double>((u + s.guidance * (l.conditional[i] - u)) / s.temperature);
  }
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return x[a] > x[b]; });
  std::vector<bool> keep(n, true);
  const auto softmax = [&] {
    std::vector<double> p(n, 0.0);
    double total = 0;
    for (size_t i = 0; i < n; i++) total += p[i] = keep[i] ? std::exp(x[i] - x[order[0]]) : 0;
    for (double& v : p) v /= total;
    return p;
  };
  if (s.top_k > 0) {
    for (size_t r = static_cast<size_t>(s.top_k); r < n; r++) keep[order[r]] = false;
  }
  if (s.top_p < 1) {
    const auto p = softmax();
    double sum = 0;
    for (size_t r = 0; r < n; r++) {
      if (r > 0 && sum >= s.top_p) keep[order[r]] = false;
      sum += p[order[r]];
    }
  }
  if (s.min_p > 0) {
    const auto p = softmax();
    const double most = *std::max_element(p.begin(), p.end());
    for (size_t i = 0; i < n; i++) keep[i] = keep[i] && p[i] >= s.min_p * most;
  }
  return softmax();
}

TEST_CASE("Draws follow the softmax of what guidance, temperature and masks leave") {
  const size_t n = 23;
  const Logits l = RandomLogits(n, 5);
  std::vector<Sampling> settings(6);
  settings[1] = {.guidance = 1, .temperature = 0.5f};
  settings[2] = {.guidance = 2, .temperature = 2, .top_k = 5};
  settings[3] = {.guidance = 1.5f, .temperature = 1.5f, .top_p = 0.8f};
  settings[4] = {.guidance = 1, .temperature = 2, .min_p = 0.2f};
  settings[5] = {.guidance = 1, .temperature = 3, .top_k = 12, .top_p = 0.9f, .min_p = 0.05f};
  constexpr int kDraws = 20000;
  Sampler sampler;
  for (const Sampling& s : settings) {
    const auto p = Probabilities(l, s);
    std::vector<int> count(n, 0);
    for (int seed = 0; seed < kDraws; seed++) {
      count[static_cast<size_t>(sampler.Sample(l.conditional.data(), l.unconditional.data(),
                                               static_cast<int64_t>(n), s, static_cast<uint64_t>(seed),
                                               3))]++;
    }
    for (size_t i = 0; i < n; i++) {
      CAPTURE(i, p[i], s.top_k, s.top_p, s.min_p);
      if (p[i] == 0) {
        CHECK(count[i] == 0);
      } else {
        // Binomial: five standard deviations, fixed seeds, so it holds always or never.
        CHECK(std::abs(count[i] - kDraws * p[i]) < 5 * std::sqrt(kDraws * p[i] * (1 - p[i])) + 1);
      }
    }
  }
}

TEST_CASE("A draw is the argmax of logits plus noise, whatever shortcuts are taken") {
  Sampler sampler;
  for (const size_t n : {1ul, 3ul, 4ul, 5ul, 97ul, 1024ul}) {
    const Logits l = RandomLogits(n, static_cast<uint32_t>(n));
    const Sampling s{.guidance = 3, .temperature = 1};
    for (uint32_t position = 0; position < 50; position++) {
      size_t best = 0;
      double best_score = -std::numeric_limits<double>::infinity();
      for (size_t i = 0; i < n; i++) {
        const float u = l.unconditional[i];
        const double score =
            u + s.guidance * (l.conditional[i] - u) + GumbelNoise(77, position, static_cast<uint32_t>(i));
        if (score > best_score) best_score = score, best = i;
      }
      CHECK(sampler.Sample(l.conditional.data(), l.unconditional.data(), static_cast<int64_t>(n), s, 77,
                           position) == static_cast<int32_t>(best));
    }
  }
}

TEST_CASE("Temperature 0 is guided greedy, ties go to the lower index") {
  Sampler sampler;
  const std::vector<float> conditional = {1, 3, 3, 2}, unconditional = {0, 0, 0, 2};
  const Sampling greedy{.guidance = 5, .temperature = 0};
  CHECK(sampler.Sample(conditional.data(), unconditional.data(), 4, greedy, 1, 0) == 1);
  const Sampling plain{.guidance = 0, .temperature = 0};  // the unconditional logits alone
  CHECK(sampler.Sample(conditional.data(), unconditional.data(), 4, plain, 1, 0) == 3);
}

TEST_CASE("Noise depends on seed, position and index, and on nothing else") {
  CHECK(GumbelNoise(5, 1, 2) == GumbelNoise(5, 1, 2));
  CHECK(GumbelNoise(5, 1, 2) != GumbelNoise(6, 1, 2));
  CHECK(GumbelNoise(5, 1, 2) != GumbelNoise(5, 2, 2));
  CHECK(GumbelNoise(5, 1, 2) != GumbelNoise(5, 1, 3));
  CHECK(GumbelNoise(uint64_t{1} << 40, 1, 2) != GumbelNoise(0, 1, 2));
}

}  // namespace
}  // namespace bifrons
