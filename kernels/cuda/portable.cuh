// What kernels are written in. The same kernel text is compiled by nvcc for a GPU, and by a host compiler
// whose <cuda_runtime.h> is an emulator's; it runs there thread by thread. So kernels use CUDA's own words
// where both have them (__global__, __device__, threadIdx, __syncthreads, atomicAdd on integers, fmaf, sqrtf)
// and this header's for the rest.
//
// Rules that both rely on
//   * Blocks are multiples of 32 threads, and all 32 lanes of a warp reach every shuffle, ballot and barrier.
//   * No thread returns before a barrier that others of its block reach.
//   * Indices into tensors are 64-bit; grids are at most 65535 in y and z.
//   * Vector loads and stores have 16-byte aligned addresses, which the host has seen to before the launch.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/cuda/check.h"

// SHARED_ARRAY(type, name, n): `type name[n]`, shared by the block, 16-byte aligned; of arbitrary content.
// DYNAMIC_SHARED(type, name): `type* name`, the bytes that the launch asked for, 16-byte aligned.
#ifdef __CUDACC__
#define SHARED_ARRAY(type, name, n) __shared__ __align__(16) type name[n]
#define DYNAMIC_SHARED(type, name)                                \
  extern __shared__ __align__(16) unsigned char dynamic_shared[]; \
  type* const name = reinterpret_cast<type*>(dynamic_shared)
#else
#define SHARED_ARRAY(type, name, n) \
  static char name##_site;          \
  auto& name = ::cuda_emulator::SharedArray<type, (n)>(&name##_site)
#define DYNAMIC_SHARED(type, name) type* const name = static_cast<type*>(::cuda_emulator::DynamicShared())
#endif

namespace bifrons::cuda {

constexpr int kWarp = 32;                          // lanes
constexpr uint32_t kAllLanes = 0xFFFFFFFFu;        // as a mask
constexpr int64_t kMaxGridYz = 65535;              // blocks in y or in z
constexpr size_t kSharedWithoutAsking = 48 << 10;  // bytes of shared memory that every kernel may have

/// The bits of a float, and back.
__device__ __forceinline__ uint32_t BitsOf(float x) { return __float_as_uint(x); }
__device__ __forceinline__ float FloatOf(uint32_t bits) { return __uint_as_float(bits); }

/// `v` of another lane of the warp: of `lane`, of this lane ^ mask, of this lane + delta (its own beyond the
/// last). T has 4 or 8 bytes.
template <class T>
__device__ __forceinline__ T Shuffle(T v, int lane) {
  return __shfl_sync(kAllLanes, v, lane);
}
template <class T>
__device__ __forceinline__ T ShuffleXor(T v, int mask) {
  return __shfl_xor_sync(kAllLanes, v, mask);
}
template <class T>
__device__ __forceinline__ T ShuffleDown(T v, int delta) {
  return __shfl_down_sync(kAllLanes, v, delta);
}

/// sum + a · b of the four int8 in each of a and b.
__device__ __forceinline__ int DotBytes(uint32_t a, uint32_t b, int sum) {
  return __dp4a(static_cast<int>(a), static_cast<int>(b), sum);
}

/// Bit i is lane i's `v`.
__device__ __forceinline__ uint32_t Ballot(bool v) { return __ballot_sync(kAllLanes, v); }

/// What this thread wrote before, and what it knows others to have written, is seen by all of the GPU before
/// what it writes after; and it reads nothing after that is older.
__device__ __forceinline__ void Fence() { __threadfence(); }

/// p, which points to the GPU's memory: nvcc does not know that of a pointer which itself is loaded, and
/// would ask at every access whether it is of shared memory.
template <class T>
__device__ __forceinline__ T* Global(T* p) {
#ifdef __CUDACC__
  __builtin_assume(__isGlobal(p));
#endif
  return p;
}

/// 16 bytes at once, from and to 16-byte aligned addresses.
__device__ __forceinline__ float4 LoadFloat4(const float* p) { return *reinterpret_cast<const float4*>(p); }
__device__ __forceinline__ void StoreFloat4(float* p, float4 v) { *reinterpret_cast<float4*>(p) = v; }
__device__ __forceinline__ uint4 LoadUint4(const void* p) { return *static_cast<const uint4*>(p); }
__device__ __forceinline__ void StoreUint4(void* p, uint4 v) { *static_cast<uint4*>(p) = v; }

/// Gives `kernel` to the stream, once for every thread of grid × block, with so many bytes for
/// DYNAMIC_SHARED; more than kSharedWithoutAsking must have been allowed by AllowShared. Throws as Check
/// does.
template <class... Parameters, class... Arguments>
void Launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
            Arguments... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  Check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), "a kernel's launch");
}

/// Blocks for n of what each has `each` of.
inline unsigned Blocks(int64_t n, int64_t each) { return static_cast<unsigned>((n + each - 1) / each); }

/// Lets launches of `kernel` ask for so many dynamic bytes.
template <class... Parameters>
void AllowShared(void (*kernel)(Parameters...), size_t bytes) {
  Check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                             cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
        "a kernel's shared memory");
}

}  // namespace bifrons::cuda
