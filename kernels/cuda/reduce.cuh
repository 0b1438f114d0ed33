// Sums and maxima over warps and blocks, always in the same order.
#pragma once

#include "kernels/cuda/portable.cuh"

namespace bifrons::cuda {

/// The sum over a warp, to all its lanes: halves are added, so that both partners add the same two numbers.
template <class T>
__device__ __forceinline__ T WarpSum(T x) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) x += ShuffleXor(x, mask);
  return x;
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

}  // namespace bifrons::cuda
