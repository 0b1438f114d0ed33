// Loops that measure what the GPU can do.
#pragma once

#include "kernels/cuda/intrinsics.cuh"
#include "kernels/cuda/numerics.cuh"

namespace bifrons::cuda {

constexpr int kRateThreads = 256;

/// Reads `vectors` of 16 bytes, all blocks together; the sum is written so that nobody leaves the reading
/// out.
__global__ void __launch_bounds__(kRateThreads)
    ReadVectors(const uint8_t* data, int64_t vectors, uint32_t* sums) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kRateThreads;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kRateThreads + threadIdx.x;
  uint32_t sum = 0;
#pragma unroll 4
  for (int64_t i = first; i < vectors; i += step) {
    const uint4 v = LoadUint4(data + 16 * i);
    sum += v.x ^ v.y ^ v.z ^ v.w;
  }
  sums[first] = sum;
}

constexpr int kMacChains = 8;

/// `rounds` times kMacChains multiply-accumulates in every thread, none of which waits for the one before.
__global__ void __launch_bounds__(kRateThreads) MultiplyAccumulate(int rounds, float factor, float* results) {
  float sums[kMacChains];
#pragma unroll
  for (int i = 0; i < kMacChains; i++) sums[i] = static_cast<float>(i);
  for (int round = 0; round < rounds; round++) {
#pragma unroll
    for (int i = 0; i < kMacChains; i++) sums[i] = fmaf(sums[i], factor, 1.0f);
  }
  float total = 0;
#pragma unroll
  for (int i = 0; i < kMacChains; i++) total += sums[i];
  results[static_cast<int64_t>(blockIdx.x) * kRateThreads + threadIdx.x] = total;
}

/// `rounds` times kMacChains products of tiles in every warp; kTileMacs multiply-accumulates each.
constexpr int kTileMacs = 16 * 8 * 16;
__global__ void __launch_bounds__(kRateThreads) MultiplyTiles(int rounds, uint32_t factors, float* results) {
  float sums[kMacChains][4] = {};
  const uint4 a = make_uint4(factors, factors, factors, factors);
  for (int round = 0; round < rounds; round++) {
#pragma unroll
    for (int i = 0; i < kMacChains; i++) MultiplyTile(sums[i], a, make_uint2(factors, factors));
  }
  float total = 0;
#pragma unroll
  for (int i = 0; i < kMacChains; i++) total += sums[i][0] + sums[i][1] + sums[i][2] + sums[i][3];
  results[static_cast<int64_t>(blockIdx.x) * kRateThreads + threadIdx.x] = total;
}

}  // namespace bifrons::cuda
