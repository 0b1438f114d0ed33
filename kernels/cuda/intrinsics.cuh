// Instructions that CUDA has no word for, of compute capability 8.0 on: products of tiles on tensor cores,
// and copies that go on beside the work. Kernels with them are compiled for older GPUs to a trap, and never
// launched there.
#pragma once

#include "kernels/cuda/numerics.cuh"

namespace bifrons::cuda {

/// The oldest compute capability that has what is below.
constexpr int kTileCapability = 80;

// mma.sync.m16n8k16: A [16, 16] and B [16, 8] of bf16, sums [16, 8] of f32, spread over the lanes of a warp.
// With group = lane / 4 and pair = 2 · (lane % 4) a lane has
//   a   A[group, pair…], A[group + 8, pair…], A[group, pair + 8…], A[group + 8, pair + 8…], two numbers each
//   b   B[pair…, group], B[pair + 8…, group]
//   sums[0], [1]: column pair, pair + 1 of row group; sums[2], [3]: of row group + 8

/// sums += A · B. Exact products; how their sums are rounded is the GPU's.
__device__ __forceinline__ void MultiplyTile(float (&sums)[4], uint4 a, uint2 b) {
#if !defined(__CUDACC__)
  ::cuda_emulator::MultiplyTile(sums, a, b);
#elif __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
#else
  __trap();
#endif
}

/// 16 bytes that nobody will ask for again, in this order among other such loads and products of tiles.
__device__ __forceinline__ uint4 LoadOnce(const uint4* p) {
#ifdef __CUDACC__
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
#else
  return *p;
#endif
}

/// Two numbers rounded to bf16, as PackBf16 does; of a NaN some NaN.
__device__ __forceinline__ uint32_t RoundPair(float low, float high) {
#if !defined(__CUDACC__)
  return PackBf16(low, high);
#elif __CUDA_ARCH__ >= 800
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  __trap();
  return 0;
#endif
}

/// Four matrices of 8 rows of 16 bytes from shared memory. Lane 8·i + j names row j of matrix i, at a
/// multiple of 16 bytes; a lane gets of each matrix the four bytes number lane % 4 of row lane / 4.
__device__ __forceinline__ uint4 LoadMatrices(const void* row) {
#if !defined(__CUDACC__)
  return ::cuda_emulator::LoadMatrices(row);
#elif __CUDA_ARCH__ >= 800
  uint4 v;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
  return v;
#else
  __trap();
  return make_uint4(0, 0, 0, 0);
#endif
}

/// The same matrices of 16-bit numbers, transposed: a lane gets of each matrix the numbers of column lane / 4
/// in rows 2 · (lane % 4) and the next.
__device__ __forceinline__ uint4 LoadMatricesTransposed(const void* row) {
#if !defined(__CUDACC__)
  return ::cuda_emulator::LoadMatricesTransposed(row);
#elif __CUDA_ARCH__ >= 800
  uint4 v;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
  return v;
#else
  __trap();
  return make_uint4(0, 0, 0, 0);
#endif
}

/// 16 bytes of global to shared memory, zeros unless they are `there`; both at multiples of 16 bytes. They
/// may be used after WaitForCopies, by other threads after a barrier behind that.
__device__ __forceinline__ void CopyAsync(void* to, const void* from, bool there) {
#if !defined(__CUDACC__)
  ::cuda_emulator::CopyAsync(to, from, there ? 16 : 0);
#elif __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(to))), "l"(from), "r"(there ? 16 : 0)
               : "memory");
#else
  __trap();
#endif
}

/// The same by way of L1, for bytes that the multiprocessor will soon ask for again.
__device__ __forceinline__ void CopyAsyncCached(void* to, const void* from, bool there) {
#if !defined(__CUDACC__)
  ::cuda_emulator::CopyAsync(to, from, there ? 16 : 0);
#elif __CUDA_ARCH__ >= 800
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(to))), "l"(from), "r"(there ? 16 : 0)
               : "memory");
#else
  __trap();
#endif
}

/// Makes one group of this thread's copies since the last one.
__device__ __forceinline__ void GroupCopies() {
#if !defined(__CUDACC__)
  ::cuda_emulator::GroupCopies();
#elif __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" : : : "memory");
#else
  __trap();
#endif
}

/// Waits for all but the last `kLeft` groups of this thread.
template <int kLeft>
__device__ __forceinline__ void WaitForCopies() {
#if !defined(__CUDACC__)
  ::cuda_emulator::WaitForCopies(kLeft);
#elif __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" : : "n"(kLeft) : "memory");
#else
  __trap();
#endif
}

}  // namespace bifrons::cuda
