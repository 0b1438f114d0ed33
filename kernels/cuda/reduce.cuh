// Sums and maxima over warps and blocks, always in the same order; the last of several blocks.
#pragma once

#include "kernels/cuda/portable.cuh"

namespace bifrons::cuda {

/// The sum over a warp, to all its lanes: halves are added, so that both partners add the same two numbers.
template <class T>
__device__ __forceinline__ T WarpSum(T x) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) x += ShuffleXor(x, mask);
  return x;
}

/// kLanes neighbouring lanes have kCount numbers each: to lane i of them the sum of all their numbers
/// i % kCount. Neighbours are added first, then pairs of them, however many numbers there are. What stands in
/// `numbers` afterwards is of no use.
template <int kLanes, int kCount, int kDistance = 1, int kRoom>
__device__ __forceinline__ float SumAcross(float (&numbers)[kRoom]) {
  if constexpr (kDistance < kLanes) {
    const bool odd = threadIdx.x & kDistance;
    if constexpr (kCount == 1) numbers[0] += ShuffleXor(numbers[0], kDistance);
#pragma unroll
    for (int i = 0; i < kCount / 2; i++) {
      const float even_number = numbers[2 * i], odd_number = numbers[2 * i + 1];
      const float other = ShuffleXor(odd ? even_number : odd_number, kDistance);
      numbers[i] = (odd ? odd_number : even_number) + other;
    }
    return SumAcross<kLanes, (kCount + 1) / 2, 2 * kDistance>(numbers);
  } else {
    return numbers[0];
  }
}

/// The largest over a warp, to all its lanes; NaN is less than everything.
__device__ __forceinline__ float WarpMax(float x) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) x = fmaxf(x, ShuffleXor(x, mask));
  return x;
}

/// The sum over a one-dimensional block of kThreads, to all its threads. May be called again at once.
template <int kThreads, class T>
__device__ __forceinline__ T BlockSum(T x) {
  SHARED_ARRAY(T, sums, kThreads / kWarp);
  const T sum = WarpSum(x);
  __syncthreads();  // the last call's sums have been read
  if (threadIdx.x % kWarp == 0) sums[threadIdx.x / kWarp] = sum;
  __syncthreads();
  T total = sums[0];
  for (int warp = 1; warp < kThreads / kWarp; warp++) total += sums[warp];
  return total;
}

/// Whether this block comes here as the last of `count` that were given the same counter, to all its threads:
/// then what all of them wrote before can be read. The counter is zero before the first of them, and again
/// after the last.
__device__ __forceinline__ bool IsLastBlock(unsigned* counter, unsigned count) {
  SHARED_ARRAY(bool, last, 1);
  __syncthreads();  // this block has written
  if (threadIdx.x == 0) {
    Fence();
    last[0] = atomicAdd(counter, 1u) == count - 1;
    if (last[0]) *counter = 0;
    Fence();
  }
  __syncthreads();
  return last[0];
}

}  // namespace bifrons::cuda
