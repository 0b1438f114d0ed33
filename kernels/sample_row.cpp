// Whatever order the parts of a row are worked in, the token is the same: masks are thresholds on the logits
// themselves, found by counting and by sums of integers. So a device with thousands of threads can do as is
// done here and arrive at the same bits, as long as its additions and multiplications are IEEE's and it
// contracts none of them to fused ones.
#include "kernels/sample_row.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>

#include "kernels/gumbel.h"
#include "src/base/check.h"

namespace bifrons {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// ---- floats in order --------------------------------------------------------------------------------------

// Integers in the order of the floats, which are no NaN and no −0.
int32_t OrderedInt(float x) {
  const auto bits = std::bit_cast<int32_t>(x);
  return bits ^ ((bits >> 31) & 0x7FFFFFFF);
}
float FloatOf(int32_t ordered) { return std::bit_cast<float>(ordered ^ ((ordered >> 31) & 0x7FFFFFFF)); }
uint32_t Key(float x) { return static_cast<uint32_t>(OrderedInt(x)) ^ 0x80000000u; }
float FloatOfKey(uint32_t key) { return FloatOf(static_cast<int32_t>(key ^ 0x80000000u)); }

// values = guided / temperature, −0 as 0; the largest of them, NaN when any is. Integer maxima, because the
// compiler may not reorder those of floats.
float Guide(const float* conditional, const float* unconditional, int64_t n, float guidance, float divisor,
            float* values) {
  int32_t largest = std::numeric_limits<int32_t>::min(), magnitude = 0;
  const auto keep = [&](int64_t i, float guided) {
    const float value = guided / divisor + 0.0f;
    values[i] = value;
    largest = std::max(largest, OrderedInt(value));
    magnitude = std::max(magnitude, std::bit_cast<int32_t>(value) & 0x7FFFFFFF);
  };
  if (unconditional) {
    for (int64_t i = 0; i < n; i++) {
      const float u = unconditional[i];
      keep(i, u + guidance * (conditional[i] - u));
    }
  } else {
    for (int64_t i = 0; i < n; i++) keep(i, conditional[i]);
  }
  const bool any_nan = magnitude > std::bit_cast<int32_t>(kInfinity);
  return any_nan ? std::numeric_limits<float>::quiet_NaN() : FloatOf(largest);
}

// ---- weights ----------------------------------------------------------------------------------------------
//
// A token's weight is e^(x − largest) in units of 2⁻⁴¹, rounded to an integer, so that sums do not depend on
// their order; kMaxSampledRow of them make at most 2⁶³. How far can a sum of m weights be from the exact one?
//   * x − largest is exact in double, or within 2⁻⁵³ of itself where the exponents of the two floats differ
//     by more than 29.
//   * The series for e^r, |r| ≤ ln2/2, ends with r¹¹/11!: what is left out is below 6.5e-15 < 2⁻⁴⁷ of it; the
//     roundings of 24 operations on numbers of about 1 and less add some 2⁻⁵¹.
//   * Rounding to an integer: 2⁻⁴². What lies deeper than kDeepest rounds to zero, as it should.
// So it is within m·(2⁻⁴² + 2⁻⁴⁷), in units of the largest token's weight: 2.5e-8 for 102,400 tokens.
// Roundings are as often up as down, which makes it about √(m/12)·2⁻⁴¹ = 4e-11. The nucleus is the exact one
// unless a prefix's exact sum is that close to top_p of the total; prefixes differ by their last token's
// weight, so where that is 1e-4 of the largest's this happens about once in a million rows. Rows whose tokens
// are all equal, where a prefix can hit the share exactly, have weights without any error.

constexpr double kOne = 0x1p41;
constexpr double kDeepest = -30;  // e^-30 · 2⁴¹ = 0.21

// Adding these leaves an integer in the lowest bits of the sum, rounded to nearest, ties to even.
constexpr double kSignedShifter = 0x1.8p52, kShifter = 0x1p52;

// weights[i] = weight of x[i]; `largest` finite.
void Weigh(const float* x, size_t n, float largest, uint64_t* weights) {
  for (size_t i = 0; i < n; i++) {
    const double exact = static_cast<double>(x[i]) - static_cast<double>(largest);
    const double d = exact > kDeepest ? exact : kDeepest;
    const double shifted = d * 1.4426950408889634 + kSignedShifter;
    const double whole = shifted - kSignedShifter;
    // ln 2 in two parts, the first exact times `whole`.
    const double r = (d - whole * 0x1.62e42fefap-1) - whole * 0x1.cf79abc9e3b3ap-40;
    double e = 1.0 / 39916800;
    e = e * r + 1.0 / 3628800;
    e = e * r + 1.0 / 362880;
    e = e * r + 1.0 / 40320;
    e = e * r + 1.0 / 5040;
    e = e * r + 1.0 / 720;
    e = e * r + 1.0 / 120;
    e = e * r + 1.0 / 24;
    e = e * r + 1.0 / 6;
    e = e * r + 1.0 / 2;
    e = e * r + 1;
    e = e * r + 1;
    const uint64_t power = (std::bit_cast<uint64_t>(shifted) << 52) + std::bit_cast<uint64_t>(kOne);
    weights[i] = std::bit_cast<uint64_t>(e * std::bit_cast<double>(power) + kShifter) -
                 std::bit_cast<uint64_t>(kShifter);
  }
}

// ---- selection --------------------------------------------------------------------------------------------

// Where the sum over tokens by falling logit reaches a goal: at tokens of this logit, when those above it
// leave `missing` of the goal.
struct Crossing {
  float value = 0;
  uint64_t missing = 0;
};

// Among values of at least `lowest`. weigh(x, count, weights) gives weights, goal(total) what is to be
// reached, 1 … total. Three passes over the row, each of which sums the weights by the next digit of those
// keys that share the digits found so far.
template <class Weigher, class Goal>
Crossing FindCrossing(const float* values, int64_t n, float lowest, uint64_t* buckets, const Weigher& weigh,
                      const Goal& goal) {
  constexpr int kDigits[] = {11, 11, 10};
  constexpr int kAtOnce = 256;
  std::array<float, kAtOnce> selected;
  std::array<uint64_t, kAtOnce> weights;
  uint32_t found = 0, rest = 0xFFFFFFFF;  // the key's digits so far, and the bits after them
  uint64_t missing = 0;
  for (const int digits : kDigits) {
    const bool is_first = rest == 0xFFFFFFFF;
    const uint32_t first = std::max(found, Key(lowest)), last = found | rest;
    const auto shift = std::popcount(rest) - digits;
    const uint32_t mask = (1u << digits) - 1;
    std::fill(buckets, buckets + kSampleBuckets, 0);
    for (int64_t i = 0; i < n;) {
      size_t count = 0;
      for (const int64_t end = std::min<int64_t>(n, i + kAtOnce); i < end; i++) {
        selected[count] = values[i];
        count += Key(values[i]) - first <= last - first;
      }
      if (count == 0) continue;
      weigh(selected.data(), count, weights.data());
      for (size_t j = 0; j < count; j++) buckets[(Key(selected[j]) >> shift) & mask] += weights[j];
    }
    if (is_first) missing = goal(std::accumulate(buckets, buckets + kSampleBuckets, uint64_t{0}));
    uint32_t digit = mask;
    while (buckets[digit] < missing) missing -= buckets[digit--];
    found |= digit << shift;
    rest >>= digits;
  }
  return {FloatOfKey(found), missing};
}

// ---- masks ------------------------------------------------------------------------------------------------

// Tokens that are left: all above `lowest`, and the first `ties` of those equal to it.
struct Kept {
  float lowest = -kInfinity;
  int64_t ties = std::numeric_limits<int64_t>::max();
};

Kept Select(const Sampling& sampling, int64_t n, float largest, const SampleScratch& scratch) {
  Kept kept;
  if (sampling.top_k > 0 && sampling.top_k < n) {
    const auto one_each = [](const float*, size_t count, uint64_t* weights) {
      std::fill(weights, weights + count, 1);
    };
    const auto top_k = [&](uint64_t) { return static_cast<uint64_t>(sampling.top_k); };
    kept.lowest = FindCrossing(scratch.values, n, kept.lowest, scratch.buckets, one_each, top_k).value;
  }
  if (sampling.top_p < 1) {
    const auto weigh = [&](const float* x, size_t count, uint64_t* weights) {
      Weigh(x, count, largest, weights);
    };
    // Two roundings of 2⁻⁵³, the same everywhere.
    const auto share = [&](uint64_t total) {
      const double wanted = std::ceil(static_cast<double>(sampling.top_p) * static_cast<double>(total));
      return std::clamp<uint64_t>(static_cast<uint64_t>(wanted), 1, total);
    };
    const Crossing at = FindCrossing(scratch.values, n, kept.lowest, scratch.buckets, weigh, share);
    uint64_t weight;
    Weigh(&at.value, 1, largest, &weight);
    kept = {at.value, static_cast<int64_t>((at.missing + weight - 1) / weight)};
  }
  if (sampling.min_p > 0) {
    const double floor = static_cast<double>(largest) + std::log(static_cast<double>(sampling.min_p));
    // Rounded up: the same floats are at least this one.
    float lowest = static_cast<float>(floor);
    if (lowest < floor) lowest = std::nextafter(lowest, kInfinity);
    if (lowest > kept.lowest) kept = {.lowest = lowest};
  }
  return kept;
}

void Mask(const Kept& kept, int64_t n, float* values) {
  const float lowest = kept.lowest;
  for (int64_t i = 0; i < n; i++) values[i] = values[i] < lowest ? -kInfinity : values[i];
  if (kept.ties >= n) return;
  int64_t ties = kept.ties;
  for (int64_t i = 0; i < n; i++) {
    if (values[i] == lowest && --ties < 0) values[i] = -kInfinity;
  }
}

// ---- the draw ---------------------------------------------------------------------------------------------

int64_t IndexOf(float value, const float* values) {
  int64_t i = 0;
  while (values[i] != value) i++;
  return i;
}

int64_t Draw(const float* values, int64_t n, int64_t likeliest, const NoiseKey& key) {
  // No noise exceeds this, so tokens this far below the best so far cannot win and need no random bits.
  const double most = GumbelBound(0xFFFFFFFF);
  double best = values[likeliest] + GumbelNoise(key, static_cast<uint32_t>(likeliest));
  int64_t best_index = likeliest;
  const auto consider = [&](int64_t i, uint32_t bits) {
    if (values[i] + GumbelBound(bits) < best) return;
    const double score = values[i] + Gumbel(bits);
    if (score > best || (score == best && i < best_index)) best = score, best_index = i;
  };
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const float* four = values + i;
    const double largest = std::max(std::max(four[0], four[1]), std::max(four[2], four[3]));
    if (largest + most < best) continue;
    const auto bits = NoiseBits(key, static_cast<uint32_t>(i / 4));
    if (largest + GumbelBound(std::max(std::max(bits[0], bits[1]), std::max(bits[2], bits[3]))) < best)
      continue;
    for (size_t j = 0; j < 4; j++) consider(i + static_cast<int64_t>(j), bits[j]);
  }
  if (i < n) {
    const auto bits = NoiseBits(key, static_cast<uint32_t>(i / 4));
    for (size_t j = 0; i < n; i++, j++) consider(i, bits[j]);
  }
  return best_index;
}

}  // namespace

int32_t SampleRow(const float* conditional, const float* unconditional, int64_t n, const Sampling& sampling,
                  const NoiseKey& key, const SampleScratch& scratch) {
  BIFRONS_CHECK(n >= 1 && n <= kMaxSampledRow, "a row of %lld logits", static_cast<long long>(n));
  const float divisor = sampling.temperature == 0 ? 1 : sampling.temperature;
  const float largest = Guide(conditional, unconditional, n, sampling.guidance, divisor, scratch.values);
  if (std::isnan(largest)) return kNoToken;
  // Noise does not matter beside infinity, and there are no shares of it.
  if (sampling.temperature == 0 || std::isinf(largest))
    return static_cast<int32_t>(IndexOf(largest, scratch.values));

  const bool masked = (sampling.top_k > 0 && sampling.top_k < n) || sampling.top_p < 1 || sampling.min_p > 0;
  if (masked) Mask(Select(sampling, n, largest, scratch), n, scratch.values);
  return static_cast<int32_t>(Draw(scratch.values, n, IndexOf(largest, scratch.values), key));
}

}  // namespace bifrons
