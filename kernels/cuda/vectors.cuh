// Numbers of f32 or bf16, one by one or several at once.
#pragma once

#include "kernels/cuda/numerics.cuh"

namespace bifrons::cuda {

/// Numbers in 16 bytes.
template <class T>
constexpr int kPerVector = static_cast<int>(16 / sizeof(T));

/// The numbers of 16 bytes, widened.
template <class T>
__device__ __forceinline__ void WidenVector(uint4 vector, float (&numbers)[kPerVector<T>]) {
  const uint32_t words[4] = {vector.x, vector.y, vector.z, vector.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    if constexpr (sizeof(T) == 4) {
      numbers[i] = FloatOf(words[i]);
    } else {
      numbers[2 * i] = LowBf16(words[i]), numbers[2 * i + 1] = HighBf16(words[i]);
    }
  }
}

/// kCount consecutive numbers, widened: one, four, or as many as 16 bytes hold; at an address that is a
/// multiple of their bytes.
template <class T, int kCount>
__device__ __forceinline__ void Load(const T* p, float (&numbers)[kCount]) {
  static_assert(kCount == 1 || kCount == 4 || kCount == kPerVector<T>);
  if constexpr (kCount == 1) {
    numbers[0] = Widen(*p);
  } else if constexpr (sizeof(T) == 4) {
    const float4 v = LoadFloat4(p);
    numbers[0] = v.x, numbers[1] = v.y, numbers[2] = v.z, numbers[3] = v.w;
  } else if constexpr (kCount == 4) {
    const uint2 v = *reinterpret_cast<const uint2*>(p);
    numbers[0] = LowBf16(v.x), numbers[1] = HighBf16(v.x), numbers[2] = LowBf16(v.y),
    numbers[3] = HighBf16(v.y);
  } else {
    WidenVector<T>(LoadUint4(p), numbers);
  }
}

/// Writes what Load reads; bf16 is rounded.
template <class T, int kCount>
__device__ __forceinline__ void Store(T* p, const float (&numbers)[kCount]) {
  static_assert(kCount == 1 || kCount == 4 || kCount == kPerVector<T>);
  if constexpr (kCount == 1) {
    *p = Narrow<T>(numbers[0]);
  } else if constexpr (sizeof(T) == 4) {
    StoreFloat4(p, make_float4(numbers[0], numbers[1], numbers[2], numbers[3]));
  } else if constexpr (kCount == 4) {
    *reinterpret_cast<uint2*>(p) =
        make_uint2(PackBf16(numbers[0], numbers[1]), PackBf16(numbers[2], numbers[3]));
  } else {
    StoreUint4(p, make_uint4(PackBf16(numbers[0], numbers[1]), PackBf16(numbers[2], numbers[3]),
                             PackBf16(numbers[4], numbers[5]), PackBf16(numbers[6], numbers[7])));
  }
}

}  // namespace bifrons::cuda
