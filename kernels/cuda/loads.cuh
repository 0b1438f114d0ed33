// Loads of several numbers at once: 16 bytes where the host found the address aligned, one by one elsewhere.
// What is loaded, and so the order of sums, is the same either way.
#pragma once

#include "kernels/cuda/vectors.cuh"

namespace bifrons::cuda {

/// Four numbers, of which the first `left` are there; zero for the others. `aligned`: p is to 16 bytes.
__device__ __forceinline__ float4 LoadUpTo4(const float* p, int64_t left, bool aligned) {
  if (aligned && left >= 4) return LoadFloat4(p);
  float4 v;
  v.x = left > 0 ? p[0] : 0.0f;
  v.y = left > 1 ? p[1] : 0.0f;
  v.z = left > 2 ? p[2] : 0.0f;
  v.w = left > 3 ? p[3] : 0.0f;
  return v;
}

/// Stores the first `left` of four numbers.
__device__ __forceinline__ void StoreUpTo4(float* p, int64_t left, bool aligned, float4 v) {
  if (aligned && left >= 4) return StoreFloat4(p, v);
  if (left > 0) p[0] = v.x;
  if (left > 1) p[1] = v.y;
  if (left > 2) p[2] = v.z;
  if (left > 3) p[3] = v.w;
}

/// Eight numbers from a 16-byte aligned address, widened.
__device__ __forceinline__ void Load8(const float* p, float (&v)[8]) {
  const float4 low = LoadFloat4(p), high = LoadFloat4(p + 4);
  v[0] = low.x, v[1] = low.y, v[2] = low.z, v[3] = low.w;
  v[4] = high.x, v[5] = high.y, v[6] = high.z, v[7] = high.w;
}
__device__ __forceinline__ void Load8(const BF16* p, float (&v)[8]) { Load(p, v); }
__device__ __forceinline__ void Load8(const F16* p, float (&v)[8]) {
  const uint4 pairs = LoadUint4(p);
  const uint32_t words[4] = {pairs.x, pairs.y, pairs.z, pairs.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    v[2 * i] = Widen(F16{static_cast<uint16_t>(words[i] & 0xFFFFu)});
    v[2 * i + 1] = Widen(F16{static_cast<uint16_t>(words[i] >> 16)});
  }
}

/// Eight numbers, of which the first `left` are there; zero for the others. `aligned`: p is to 16 bytes.
template <class T>
__device__ __forceinline__ void LoadUpTo8(const T* p, int64_t left, bool aligned, float (&v)[8]) {
  if (aligned && left >= 8) return Load8(p, v);
#pragma unroll
  for (int i = 0; i < 8; i++) v[i] = i < left ? Widen(p[i]) : 0.0f;
}

/// Four or eight numbers.
__device__ __forceinline__ void LoadUpTo(const float* p, int64_t left, bool aligned, float (&v)[4]) {
  const float4 four = LoadUpTo4(p, left, aligned);
  v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
}
template <class T>
__device__ __forceinline__ void LoadUpTo(const T* p, int64_t left, bool aligned, float (&v)[8]) {
  LoadUpTo8(p, left, aligned, v);
}

/// A vector of f32 or bf16 with zeros for all but its first `left` numbers.
template <class T>
__device__ __forceinline__ uint4 FirstOf(uint4 vector, int64_t left) {
  uint32_t words[4] = {vector.x, vector.y, vector.z, vector.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    constexpr int kOfWord = 4 / sizeof(T);
    if (left <= i * kOfWord) {
      words[i] = 0;
    } else if (left < (i + 1) * kOfWord) {
      words[i] &= 0xFFFFu;
    }
  }
  return make_uint4(words[0], words[1], words[2], words[3]);
}

}  // namespace bifrons::cuda
