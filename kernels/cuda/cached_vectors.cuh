// What a lane of attention takes of a key or value at a time.
#pragma once

#include "kernels/cuda/loads.cuh"

namespace bifrons::cuda {

/// Some numbers from `at` on of a row of dim numbers: 16 bytes of f32 or bf16.
template <class T>
struct CachedVector {
  static constexpr int kCount = kPerVector<T>;
  uint4 numbers;

  static __device__ __forceinline__ CachedVector Of(const T* row, int at, int) {
    return {LoadUint4(row + at)};
  }
  /// Zeros for all but the first `left`.
  __device__ __forceinline__ void Keep(int left) { numbers = FirstOf<T>(numbers, left); }
  __device__ __forceinline__ void Widen(float (&v)[kCount]) const { WidenVector<T>(numbers, v); }
};

/// The same of a row in blocks of q8_0 (CudaKvPages): eight steps and their scale.
template <>
struct CachedVector<int8_t> {
  static constexpr int kCount = 8;
  uint2 steps;
  float scale;

  static __device__ __forceinline__ CachedVector Of(const int8_t* row, int at, int dim) {
    const F16* const scales = reinterpret_cast<const F16*>(row + dim);
    return {*reinterpret_cast<const uint2*>(row + at), cuda::Widen(scales[at / 32])};
  }
  __device__ __forceinline__ void Keep(int) {}  // a row is whole vectors
  __device__ __forceinline__ void Widen(float (&v)[kCount]) const {
#pragma unroll
    for (int i = 0; i < kCount; i++) {
      // Beside 2²³ the last place of an f32 is a one: steps that are counted from −128 are its low bits.
      const uint32_t bits = ((i < 4 ? steps.x : steps.y) >> (i % 4 * 8) & 255u) ^ 128u;
      v[i] = scale * (FloatOf(0x4B000000u | bits) - 8388736.0f);
    }
  }
};

}  // namespace bifrons::cuda
