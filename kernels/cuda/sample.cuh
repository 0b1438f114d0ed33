// One token from one row of logits: SampleRow of kernels/sample_row.cpp with a thousand threads. What they
// add up are integers and what they choose among has one largest, so that the token does not depend on their
// order.
#pragma once

#include "kernels/cuda/noise.cuh"
#include "kernels/sample_row.h"

namespace bifrons::cuda {

/// A request, as the kernel wants it.
struct SampleTask {
  const float* conditional;    // [n]
  const float* unconditional;  // [n], or null
  int32_t* token;
  float guidance, divisor;
  int32_t greedy, top_k;    // top_k 0: all
  double top_p, log_min_p;  // 1 and −∞: all
  DeviceNoise noise;
};

/// As many as one launch takes: kernels' arguments have 4 KB.
constexpr int kSampleTasks = 32;
struct SampleTasks {
  SampleTask task[kSampleTasks];
};

constexpr int kSampleThreads = 1024, kSampleWarps = kSampleThreads / kWarp;

/// What the block shares.
struct SampleShared {
  // The buckets' sums in two halves, because 32-bit additions are what shared memory does by itself.
  uint32_t low[kSampleBuckets], high[kSampleBuckets];
  uint64_t sums[kSampleWarps];
  uint64_t missing;
  uint32_t digit;
  double score;
};

// ---- the block --------------------------------------------------------------------------------------------

/// `combine` of all threads' v, in every thread; the order of the threads must not matter to it.
template <class T, class Combine>
__device__ __forceinline__ T ReduceBlock(T v, const Combine& combine, SampleShared& shared) {
  static_assert(kSampleWarps == kWarp && sizeof(T) <= sizeof(uint64_t));
  for (int mask = kWarp / 2; mask > 0; mask /= 2) v = combine(v, ShuffleXor(v, mask));
  T* const of_warps = reinterpret_cast<T*>(shared.sums);
  __syncthreads();  // whoever still reads what was here before
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = v;
  __syncthreads();
  v = of_warps[threadIdx.x % kWarp];
  for (int mask = kWarp / 2; mask > 0; mask /= 2) v = combine(v, ShuffleXor(v, mask));
  return v;
}

/// Sums of all threads' v: over the threads before this one, and over all.
struct PrefixSum {
  uint64_t before, total;
};
__device__ __forceinline__ PrefixSum SumBlock(uint64_t v, SampleShared& shared) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  uint64_t sum = v;
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const uint64_t below = Shuffle(sum, lane >= distance ? lane - distance : lane);
    if (lane >= distance) sum += below;
  }
  __syncthreads();  // whoever still reads what was here before
  if (lane == kWarp - 1) shared.sums[warp] = sum;
  __syncthreads();
  PrefixSum result{sum - v, 0};
  for (int w = 0; w < kSampleWarps; w++) {
    if (w < warp) result.before += shared.sums[w];
    result.total += shared.sums[w];
  }
  return result;
}

// ---- floats in order --------------------------------------------------------------------------------------

/// Integers in the order of the floats, which are no NaN and no −0; and back.
__device__ __forceinline__ int32_t OrderedInt(float x) {
  const int32_t bits = static_cast<int32_t>(BitsOf(x));
  return bits ^ ((bits >> 31) & 0x7FFFFFFF);
}
__device__ __forceinline__ float FloatOfOrdered(int32_t ordered) {
  return FloatOf(static_cast<uint32_t>(ordered ^ ((ordered >> 31) & 0x7FFFFFFF)));
}

constexpr uint32_t kSignBit = 0x80000000u, kInfinityBits = 0x7F800000u;

/// The smallest float of at least x.
__device__ __forceinline__ float RoundUp(double x) {
  const float nearest = static_cast<float>(x);
  return nearest < x ? FloatOfOrdered(OrderedInt(nearest) + 1) : nearest;
}

// ---- selection --------------------------------------------------------------------------------------------

/// Where the sum of weights over items by falling key reaches a goal: at this key, when those above it leave
/// `missing` of the goal.
struct Crossing {
  uint32_t key;
  uint64_t missing;
};

/// Among n items with keys of `bits` bits. key(i) and weight(i) are an item's, goal(total) is what is to be
/// reached, 1 … total. A pass over the items for each digit of the key, which sums the weights by the next
/// digit of those keys that share the digits found so far.
template <class Key, class Weight, class Goal>
__device__ __forceinline__ Crossing FindCrossing(int bits, int64_t n, const Key& key, const Weight& weight,
                                                 const Goal& goal, SampleShared& shared) {
  constexpr int kDigitBits = 11;
  constexpr int kPerThread = static_cast<int>(kSampleBuckets) / kSampleThreads;
  static_assert(kSampleBuckets == 1 << kDigitBits && kPerThread * kSampleThreads == kSampleBuckets);
  Crossing found = {0, 0};
  for (int rest = bits; rest > 0;) {
    const int above = rest;
    rest -= rest < kDigitBits ? rest : kDigitBits;
    const uint32_t mask = (1u << (above - rest)) - 1;
    for (int i = 0; i < kPerThread; i++) {  // which nobody reads any more
      shared.low[i * kSampleThreads + threadIdx.x] = 0;
      shared.high[i * kSampleThreads + threadIdx.x] = 0;
    }
    __syncthreads();  // the buckets are empty
    for (int64_t i = threadIdx.x; i < n; i += kSampleThreads) {
      const uint32_t k = key(i);
      if (uint64_t{k ^ found.key} >> above != 0) continue;
      const uint64_t w = weight(i);
      if (w == 0) continue;
      const uint32_t digit = (k >> rest) & mask, low = static_cast<uint32_t>(w);
      const bool carry = atomicAdd(&shared.low[digit], low) > 0xFFFFFFFFu - low;
      const uint32_t high = static_cast<uint32_t>(w >> 32) + (carry ? 1u : 0u);
      if (high != 0) atomicAdd(&shared.high[digit], high);
    }
    __syncthreads();
    // The first threads have the highest digits.
    const uint32_t highest = static_cast<uint32_t>(kSampleBuckets) - 1 - threadIdx.x * kPerThread;
    uint64_t own = 0;
    for (uint32_t i = 0; i < kPerThread; i++)
      own += uint64_t{shared.high[highest - i]} << 32 | shared.low[highest - i];
    const PrefixSum sum = SumBlock(own, shared);
    if (above == bits) found.missing = goal(sum.total);
    if (sum.before < found.missing && found.missing <= sum.before + own) {
      uint64_t missing = found.missing - sum.before;
      uint32_t digit = highest;
      for (;; digit--) {
        const uint64_t bucket = uint64_t{shared.high[digit]} << 32 | shared.low[digit];
        if (missing <= bucket) break;
        missing -= bucket;
      }
      shared.digit = digit, shared.missing = missing;
    }
    __syncthreads();
    found.key |= shared.digit << rest;
    found.missing = shared.missing;
  }
  return found;
}

/// Tokens that are left: all above `lowest`, and those equal to it up to index `last`.
struct Kept {
  float lowest;
  int64_t last;
};

/// The masks, over values [n] whose largest is `largest`, finite.
__device__ __forceinline__ Kept Select(const SampleTask& task, const float* values, int64_t n, float largest,
                                       SampleShared& shared) {
  constexpr int64_t kAll = kMaxSampledRow;
  const auto key = [=](int64_t i) { return static_cast<uint32_t>(OrderedInt(values[i])) ^ kSignBit; };
  const auto value_of = [](uint32_t k) { return FloatOfOrdered(static_cast<int32_t>(k ^ kSignBit)); };
  Kept kept = {FloatOf(kSignBit | kInfinityBits), kAll};
  if (task.top_k > 0 && task.top_k < n) {
    const auto one_each = [](int64_t) { return uint64_t{1}; };
    const auto top_k = [&](uint64_t) { return static_cast<uint64_t>(task.top_k); };
    kept.lowest = value_of(FindCrossing(32, n, key, one_each, top_k, shared).key);
  }
  if (task.top_p < 1) {
    const float lowest = kept.lowest;
    const auto weigh = [=](int64_t i) {
      return values[i] >= lowest ? WeightOf(values[i], largest) : uint64_t{0};
    };
    const auto share = [&](uint64_t total) {
      const uint64_t wanted = static_cast<uint64_t>(ceil(task.top_p * static_cast<double>(total)));
      return wanted < 1 ? uint64_t{1} : wanted < total ? wanted : total;
    };
    const Crossing at = FindCrossing(32, n, key, weigh, share, shared);
    const float value = value_of(at.key);
    // Of the tokens there only so many are needed, lower indices first.
    const uint64_t weight = WeightOf(value, largest), ties = (at.missing + weight - 1) / weight;
    const auto falling_index = [](int64_t i) { return static_cast<uint32_t>(kMaxSampledRow - 1 - i); };
    const auto equal = [=](int64_t i) { return uint64_t{values[i] == value ? 1u : 0u}; };
    const auto first_ties = [=](uint64_t) { return ties; };
    constexpr int kIndexBits = 22;
    static_assert(kMaxSampledRow == int64_t{1} << kIndexBits);
    const Crossing last = FindCrossing(kIndexBits, n, falling_index, equal, first_ties, shared);
    kept = {value, kMaxSampledRow - 1 - last.key};
  }
  const float likely = RoundUp(static_cast<double>(largest) + task.log_min_p);
  if (likely > kept.lowest) kept = {likely, kAll};
  return kept;
}

// ---- the draw ---------------------------------------------------------------------------------------------

__device__ __forceinline__ uint32_t BitsOfToken(const uint4& four, int64_t token) {
  const int64_t j = token % 4;
  return j == 0 ? four.x : j == 1 ? four.y : j == 2 ? four.z : four.w;
}

/// The token of the largest value + noise among those kept; `values` go on with −∞ up to a multiple of four.
__device__ __forceinline__ int32_t Draw(const DeviceNoise& noise, const float* values, int64_t n,
                                        const Kept& kept, int32_t likeliest, SampleShared& shared) {
  const float minus_infinity = FloatOf(kSignBit | kInfinityBits);
  if (threadIdx.x == 0) {
    const uint4 bits = NoiseBits(noise, static_cast<uint32_t>(likeliest / 4));
    shared.score = static_cast<double>(values[likeliest]) + Gumbel(BitsOfToken(bits, likeliest));
  }
  __syncthreads();
  // No noise exceeds `most`, so tokens this far below the best so far cannot win and need no random bits.
  const double most = GumbelBound(0xFFFFFFFFu);
  double best = shared.score;
  int32_t best_index = likeliest;
  for (int64_t first = 4 * int64_t{threadIdx.x}; first < n; first += 4 * kSampleThreads) {
    const float4 v = LoadFloat4(values + first);
    float four[4] = {v.x, v.y, v.z, v.w};
    float largest = minus_infinity;
    for (int j = 0; j < 4; j++) {
      const bool is_kept = four[j] > kept.lowest || (four[j] == kept.lowest && first + j <= kept.last);
      four[j] = is_kept ? four[j] : minus_infinity;
      largest = fmaxf(largest, four[j]);
    }
    if (static_cast<double>(largest) + most < best) continue;
    const uint4 noise_bits = NoiseBits(noise, static_cast<uint32_t>(first / 4));
    const uint32_t bits[4] = {noise_bits.x, noise_bits.y, noise_bits.z, noise_bits.w};
    for (int j = 0; j < 4; j++) {
      const double value = static_cast<double>(four[j]);
      if (value + GumbelBound(bits[j]) < best) continue;
      const double score = value + Gumbel(bits[j]);
      const int32_t index = static_cast<int32_t>(first) + j;
      if (score > best || (score == best && index < best_index)) best = score, best_index = index;
    }
  }
  const double winner = ReduceBlock(
      best, [](double a, double b) { return a > b ? a : b; }, shared);
  const int32_t index = best == winner ? best_index : static_cast<int32_t>(kMaxSampledRow);
  return ReduceBlock(
      index, [](int32_t a, int32_t b) { return a < b ? a : b; }, shared);
}

/// Task blockIdx.x of `tasks` by a block of kSampleThreads; n logits. values [tasks, stride]: scratch, stride
/// the least multiple of 4 that holds n.
__global__ void __launch_bounds__(kSampleThreads)
    SampleKernel(SampleTasks tasks, int64_t n, float* scratch, int64_t stride) {
  SHARED_ARRAY(SampleShared, all_shared, 1);
  SampleShared& shared = all_shared[0];
  const SampleTask task = tasks.task[blockIdx.x];
  float* const values = scratch + int64_t{blockIdx.x} * stride;

  // values = guided / temperature, −0 as 0, then −∞; the first of the largest, and whether any is NaN.
  int32_t largest = OrderedInt(FloatOf(kSignBit | kInfinityBits)), first = 0, magnitude = 0;
  for (int64_t i = threadIdx.x; i < stride; i += kSampleThreads) {
    float value = FloatOf(kSignBit | kInfinityBits);
    if (i < n) {
      const float c = task.conditional[i];
      float guided = c;
      if (task.unconditional) {
        const float u = task.unconditional[i];
        guided = u + task.guidance * (c - u);
      }
      value = guided / task.divisor + 0.0f;
    }
    values[i] = value;
    const int32_t size = static_cast<int32_t>(BitsOf(value) & ~kSignBit);
    magnitude = size > magnitude ? size : magnitude;
    if (OrderedInt(value) > largest) largest = OrderedInt(value), first = static_cast<int32_t>(i);
  }
  const auto larger = [](int32_t a, int32_t b) { return a > b ? a : b; };
  const auto smaller = [](int32_t a, int32_t b) { return a < b ? a : b; };
  const int32_t top = ReduceBlock(largest, larger, shared);
  const int32_t own_first = largest == top ? first : static_cast<int32_t>(kMaxSampledRow);
  const int32_t likeliest = ReduceBlock(own_first, smaller, shared);
  const bool any_nan = ReduceBlock(magnitude, larger, shared) > static_cast<int32_t>(kInfinityBits);

  int32_t token = any_nan ? kNoToken : likeliest;
  // Noise does not matter beside infinity, and there are no shares of it. The block's threads agree.
  const float value = FloatOfOrdered(top);
  const bool is_infinite = (BitsOf(value) & ~kSignBit) == kInfinityBits;
  if (!any_nan && !task.greedy && !is_infinite) {
    const Kept kept = Select(task, values, n, value, shared);
    token = Draw(task.noise, values, n, kept, likeliest, shared);
  }
  if (threadIdx.x == 0) *task.token = token;
}

}  // namespace bifrons::cuda
