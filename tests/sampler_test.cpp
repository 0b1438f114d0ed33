// Philox against Random123's published vectors; sampling against a naive softmax over the same masks.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/gumbel.h"
#include "kernels/sampling.h"
#include "tests/sample_token.h"

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
  for (const Sampling& s : settings) {
    const auto p = Probabilities(l, s);
    std::vector<int> count(n, 0);
    for (int seed = 0; seed < kDraws; seed++) {
      const NoiseKey key{static_cast<uint64_t>(seed), 3};
      count[static_cast<size_t>(
          SampleToken(l.conditional.data(), l.unconditional.data(), static_cast<int64_t>(n), s, key)
              .token)]++;
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
  for (const size_t n : {1ul, 3ul, 4ul, 5ul, 97ul, 1024ul}) {
    const Logits l = RandomLogits(n, static_cast<uint32_t>(n));
    const Sampling s{.guidance = 3, .temperature = 1};
    for (uint32_t position = 0; position < 50; position++) {
      size_t best = 0;
      double best_score = -std::numeric_limits<double>::infinity();
      for (size_t i = 0; i < n; i++) {
        const float u = l.unconditional[i];
        const double score =
            u + s.guidance * (l.conditional[i] - u) + GumbelNoise({77, position}, static_cast<uint32_t>(i));
        if (score > best_score) best_score = score, best = i;
      }
      CHECK(SampleToken(l.conditional.data(), l.unconditional.data(), static_cast<int64_t>(n), s,
                        {77, position})
                .token == static_cast<int32_t>(best));
    }
  }
}

TEST_CASE("Temperature 0 is guided greedy, ties go to the lower index") {
  const std::vector<float> conditional = {1, 3, 3, 2}, unconditional = {0, 0, 0, 2};
  const Sampling greedy{.guidance = 5, .temperature = 0};
  CHECK(SampleToken(conditional.data(), unconditional.data(), 4, greedy, {}).token == 1);
  const Sampling plain{.guidance = 0, .temperature = 0};  // the unconditional logits alone
  CHECK(SampleToken(conditional.data(), unconditional.data(), 4, plain, {}).token == 3);
}

TEST_CASE("Noise depends on seed, position, stream and token, and on nothing else") {
  CHECK(GumbelNoise({5, 1}, 2) == GumbelNoise({5, 1}, 2));
  CHECK(GumbelNoise({5, 1}, 2) != GumbelNoise({6, 1}, 2));
  CHECK(GumbelNoise({5, 1}, 2) != GumbelNoise({5, 2}, 2));
  CHECK(GumbelNoise({5, 1}, 2) != GumbelNoise({5, 1}, 3));
  CHECK(GumbelNoise({5, 1}, 2) != GumbelNoise({5, 1, NoiseStream::kText}, 2));
  CHECK(GumbelNoise({uint64_t{1} << 40, 1}, 2) != GumbelNoise({0, 1}, 2));
}

TEST_CASE("Noise stays below its bound") {
  std::mt19937 random(1);
  for (int i = 0; i < 100000; i++) {
    const uint32_t bits = i < 32 ? ~(0xFFFFFFFFu >> i) : ~(random() >> (i % 32));
    REQUIRE(Gumbel(bits) < GumbelBound(bits));
  }
  REQUIRE(Gumbel(0xFFFFFFFF) < GumbelBound(0xFFFFFFFF));
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The same draw by a full sort, sums of libm's exponentials in double, and no shortcut.
SampledToken SampleBySorting(const float* conditional, const float* unconditional, int64_t n,
                             const Sampling& s, const NoiseKey& key) {
  SampledToken sampled;
  std::vector<float>& x = sampled.values;
  const float divisor = s.temperature == 0 ? 1 : s.temperature;
  for (int64_t i = 0; i < n; i++) {
    const float u = unconditional ? unconditional[i] : 0, c = conditional[i];
    x.push_back((unconditional ? u + s.guidance * (c - u) : c) / divisor);
  }
  if (std::any_of(x.begin(), x.end(), [](float v) { return std::isnan(v); })) return sampled;
  std::vector<int32_t> order(x.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const float y = x[static_cast<size_t>(a)], z = x[static_cast<size_t>(b)];
    return y != z ? y > z : a < b;
  });
  if (s.temperature == 0) {
    sampled.token = order[0];
    return sampled;
  }
  const auto logit = [&](size_t rank) { return x[static_cast<size_t>(order[rank])]; };
  size_t keep = x.size();
  if (s.top_k > 0 && static_cast<size_t>(s.top_k) < keep) {
    keep = static_cast<size_t>(s.top_k);
    while (keep < x.size() && logit(keep) == logit(keep - 1)) keep++;
  }
  const double largest = logit(0);
  if (s.top_p < 1) {
    double total = 0, sum = 0;
    for (size_t i = 0; i < keep; i++) total += std::exp(logit(i) - largest);
    size_t nucleus = 0;
    while (nucleus < keep && (nucleus == 0 || sum < s.top_p * total))
      sum += std::exp(logit(nucleus++) - largest);
    keep = nucleus;
  }
  if (s.min_p > 0) {
    const double floor = largest + std::log(static_cast<double>(s.min_p));
    while (keep > 1 && logit(keep - 1) < floor) keep--;
  }
  for (size_t i = keep; i < x.size(); i++) x[static_cast<size_t>(order[i])] = -kInfinity;
  double best = -kInfinity;
  sampled.token = order[0];
  for (size_t i = 0; i < x.size(); i++) {
    const double score = x[i] == -kInfinity ? -kInfinity : x[i] + GumbelNoise(key, static_cast<uint32_t>(i));
    if (score > best) best = score, sampled.token = static_cast<int32_t>(i);
  }
  return sampled;
}

// Rows as models never and as they always make them.
std::vector<float> AnyRow(size_t n, std::mt19937& random) {
  std::vector<float> x(n);
  const auto kind = random() % 8;
  const float spread = std::exp2(static_cast<float>(random() % 9) - 4);
  std::normal_distribution<float> normal(0, spread);
  const float base = normal(random);
  for (float& v : x) {
    switch (kind) {
      case 0:  // all equal
        v = base;
        break;
      case 1:  // two values
        v = random() % 2 ? base : base - spread;
        break;
      case 2:  // many ties, both zeros
        v = std::round(normal(random) * 2) / 2;
        break;
      case 3:  // nothing in common
        v = std::ldexp(normal(random), static_cast<int>(random() % 160) - 60);
        break;
      default:
        v = normal(random);
    }
  }
  if (random() % 8 == 0) {
    for (float& v : x)
      if (random() % 3 == 0) v = -kInfinity;
  }
  if (random() % 16 == 0) {
    for (float& v : x)
      if (random() % 50 == 0) v = kInfinity;
  }
  if (random() % 64 == 0) x.assign(n, -kInfinity);
  return x;
}

Sampling AnySampling(size_t n, std::mt19937& random) {
  const auto unit = [&] { return static_cast<float>(random() % 10000) / 10000; };
  const auto small = static_cast<int>(n);
  const int top_k[] = {
      0, 0, 1, 2, small / 2, small - 1, small, small + 5, 1 + static_cast<int>(random() % n)};
  const float top_p[] = {1, 1, 0, 0.5f, 0.9f, 0.95f, 0.25f, 0x1.fffffep-1f, 1e-30f, unit(), unit()};
  const float min_p[] = {0, 0, 0, 1, 0.05f, 1e-6f, 1e-30f, unit()};
  const float temperature[] = {1, 1, 1, 0.5f, 3, 0.7f, 100, 0};
  Sampling s;
  s.guidance = static_cast<float>(random() % 6);
  s.temperature = temperature[random() % std::size(temperature)];
  s.top_k = top_k[random() % std::size(top_k)];
  s.top_p = top_p[random() % std::size(top_p)];
  s.min_p = min_p[random() % std::size(min_p)];
  return s;
}

// Sums of fixed-point weights are within m·2⁻⁴² of the exact ones, those of doubles within m·2⁻⁵³: with one
// rounding a token (kernels/sample_row.cpp). A nucleus can differ where a prefix's sum is so close to the
// share that is wanted; with the typical error, √(m/12)·2⁻⁴¹, and a last token of 1e-3 … 1e-6 of the largest,
// in one row of 10⁷ … 10⁵. So none is expected here, and even then the token would have to be the one that
// differs.
TEST_CASE("Selection leaves and draws what a full sort does") {
  std::mt19937 random(7);
  int rows = 0, not_finite = 0, masked = 0, other_tokens = 0, other_nuclei = 0;
  const auto compare = [&](size_t n) {
    const std::vector<float> c = AnyRow(n, random);
    const std::vector<float> u = random() % 2 ? AnyRow(n, random) : std::vector<float>();
    const Sampling s = AnySampling(n, random);
    const NoiseKey key{random(), static_cast<uint32_t>(random() % 1000), NoiseStream::kText};
    const auto draw_with = [&](const auto& sample, const Sampling& with) {
      return sample(c.data(), u.empty() ? nullptr : u.data(), static_cast<int64_t>(n), with, key);
    };
    const SampledToken expected = draw_with(SampleBySorting, s), sampled = draw_with(SampleToken, s);
    CAPTURE(rows, n, s.guidance, s.temperature, s.top_k, s.top_p, s.min_p);
    CHECK(sampled.token == expected.token);
    rows++;
    other_tokens += sampled.token != expected.token;
    if (expected.token == kNoToken || std::isinf(expected.values[static_cast<size_t>(expected.token)])) {
      not_finite++;  // the masks are left out
      return;
    }
    other_nuclei += sampled.values != expected.values;
    masked += expected.values != draw_with(SampleBySorting, {s.guidance, s.temperature}).values;
  };
  while (rows < 10000) compare(1 + random() % 300);
  for (int i = 0; i < 100; i++) compare(16384);
  for (int i = 0; i < 30; i++) compare(102400);
  CHECK(other_tokens == 0);
  CHECK(other_nuclei == 0);
  CHECK(masked > 3000);  // the masks had something to do
  CHECK(not_finite > 300);
  CHECK(not_finite < 3000);
}

TEST_CASE("Min-p draws its line between two floats") {
  for (int i = 1; i < 200; i++) {
    const Sampling s{.min_p = static_cast<float>(i) / 200};
    const auto line = static_cast<float>(std::log(static_cast<double>(s.min_p)));
    const std::vector<float> x = {0, std::nextafter(line, -1e9f), line, std::nextafter(line, 1e9f), -50};
    const auto n = static_cast<int64_t>(x.size());
    CAPTURE(s.min_p);
    CHECK(SampleToken(x.data(), nullptr, n, s, {}).values ==
          SampleBySorting(x.data(), nullptr, n, s, {}).values);
  }
}

TEST_CASE("Infinite logits are certain or impossible, NaN is no token") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<Sampling> settings = {{.guidance = 1},
                                          {.guidance = 1, .temperature = 0},
                                          {.guidance = 1, .top_k = 2},
                                          {.guidance = 1, .top_p = 0.5f},
                                          {.guidance = 1, .top_k = 3, .top_p = 0.9f, .min_p = 0.1f}};
  const auto token = [](const std::vector<float>& x, const Sampling& s) {
    return SampleToken(x.data(), nullptr, static_cast<int64_t>(x.size()), s, {3, 1}).token;
  };
  for (const Sampling& s : settings) {
    CAPTURE(s.temperature, s.top_k, s.top_p);
    CHECK(token({1, kInfinity, 90, kInfinity, -kInfinity}, s) == 1);
    CHECK(token({-kInfinity, -kInfinity, -80, -kInfinity, -kInfinity}, s) == 2);
    CHECK(token({-kInfinity, -kInfinity, -kInfinity}, s) == 0);
    for (size_t at = 0; at < 37; at++) {
      for (const float bad : {nan, -nan}) {
        std::vector<float> x(37, 1.0f);
        x[(at + 5) % 37] = kInfinity;
        x[at] = bad;
        CHECK(token(x, s) == kNoToken);
      }
    }
  }
  // The guided logit counts: of two infinities it has none.
  const std::vector<float> c = {1, -kInfinity, 2}, u = {0, -kInfinity, 0};
  CHECK(SampleToken(c.data(), u.data(), 3, {}, {}).token == kNoToken);
}

}  // namespace
}  // namespace bifrons
