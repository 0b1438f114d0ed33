// RmsNorm for kernels that read rows: what they multiply is normed on its way, and stands nowhere.
#pragma once

#include "kernels/cuda/loads.cuh"
#include "kernels/cuda/reduce.cuh"

namespace bifrons::cuda {

/// x / sqrt(mean(x²) + eps) · weight, or x itself.
struct RowNorm {
  const float* weight = nullptr;  // [width]; null: rows stay as they are
  bool aligned = false;           // weight to 16 bytes
  float eps = 0;

  __host__ __device__ bool exists() const { return weight != nullptr; }

  /// What a row's numbers are multiplied by before the weight, to all lanes of the warp that asks: each adds
  /// up four in every 4 · kWarp, of which kAtOnce are loaded together.
  template <int kAtOnce = 8>
  __device__ __forceinline__ float Scale(const float* row, int64_t width, bool row_aligned) const {
    float squares = 0;
    const auto add = [&squares](float4 v) {
      squares += v.x * v.x;
      squares += v.y * v.y;
      squares += v.z * v.z;
      squares += v.w * v.w;
    };
    int64_t i = 4 * (threadIdx.x % kWarp);
    // Nothing is asked between these loads, so that they are under way together.
    for (; row_aligned && i + (kAtOnce - 1) * 4 * kWarp + 4 <= width; i += kAtOnce * 4 * kWarp) {
      float4 v[kAtOnce];
#pragma unroll
      for (int j = 0; j < kAtOnce; j++) v[j] = LoadFloat4(row + i + j * 4 * kWarp);
#pragma unroll
      for (int j = 0; j < kAtOnce; j++) add(v[j]);
    }
    for (; i < width; i += 4 * kWarp) add(LoadUpTo4(row + i, width - i, row_aligned));
    return ScaleOf(WarpSum(squares), width);
  }
  /// The same of the sum of a row's squares.
  __device__ __forceinline__ float ScaleOf(float squares, int64_t width) const {
    return 1.0f / sqrtf(squares / static_cast<float>(width) + eps);
  }
  /// Four numbers of a row from `i` on; zeros stay zeros.
  __device__ __forceinline__ float4 Of4(float4 v, int64_t i, int64_t width, float scale) const {
    return Of4(v, LoadUpTo4(weight + i, width - i, aligned), scale);
  }
  /// The same with their weights.
  __device__ __forceinline__ float4 Of4(float4 v, float4 w, float scale) const {
    return make_float4(v.x * scale * w.x, v.y * scale * w.y, v.z * scale * w.z, v.w * scale * w.w);
  }
};

}  // namespace bifrons::cuda
