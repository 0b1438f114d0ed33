// Norms of rows: a block for each.
#pragma once

#include "kernels/cuda/copies.cuh"
#include "kernels/cuda/loads.cuh"
#include "kernels/cuda/reduce.cuh"

namespace bifrons::cuda {

constexpr int kRowNormThreads = 256;

/// The sum of `term` over a row's numbers, to all threads: each adds up four in every 4 · kRowNormThreads.
template <class Term>
__device__ __forceinline__ float RowSum(const float* row, int64_t width, bool aligned, const Term& term) {
  float sum = 0;
  for (int64_t i = 4 * threadIdx.x; i < width; i += 4 * kRowNormThreads) {
    const float4 v = LoadUpTo4(row + i, width - i, aligned);
    sum += term(v.x);
    if (i + 1 < width) sum += term(v.y);
    if (i + 2 < width) sum += term(v.z);
    if (i + 3 < width) sum += term(v.w);
  }
  return BlockSum<kRowNormThreads>(sum);
}

/// y = x / sqrt(mean(x²) + eps) · weight over each row of `width`; y may be x. `aligned`: every row, and
/// weight.
__global__ void __launch_bounds__(kRowNormThreads)
    RmsNormRows(Rows<const float> x, const float* weight, float eps, int64_t width, bool aligned,
                Rows<float> y) {
  const float* in = x.data + blockIdx.x * x.stride;
  float* out = y.data + blockIdx.x * y.stride;
  const float squares = RowSum(in, width, aligned, [](float v) { return v * v; });
  const float scale = 1.0f / sqrtf(squares / static_cast<float>(width) + eps);
  for (int64_t i = 4 * threadIdx.x; i < width; i += 4 * kRowNormThreads) {
    const float4 v = LoadUpTo4(in + i, width - i, aligned), w = LoadUpTo4(weight + i, width - i, aligned);
    StoreUpTo4(out + i, width - i, aligned,
               make_float4(v.x * scale * w.x, v.y * scale * w.y, v.z * scale * w.z, v.w * scale * w.w));
  }
}

/// y = (x − mean) / sqrt(variance + eps) · weight + bias over each row of `width`; y may be x. `aligned`:
/// every row, weight and bias.
__global__ void __launch_bounds__(kRowNormThreads)
    LayerNormRows(Rows<const float> x, const float* weight, const float* bias, float eps, int64_t width,
                  bool aligned, Rows<float> y) {
  const float* in = x.data + blockIdx.x * x.stride;
  float* out = y.data + blockIdx.x * y.stride;
  const auto n = static_cast<float>(width);
  const float mean = RowSum(in, width, aligned, [](float v) { return v; }) / n;
  const float squares = RowSum(in, width, aligned, [mean](float v) { return (v - mean) * (v - mean); });
  const float scale = 1.0f / sqrtf(squares / n + eps);
  for (int64_t i = 4 * threadIdx.x; i < width; i += 4 * kRowNormThreads) {
    const float4 v = LoadUpTo4(in + i, width - i, aligned), w = LoadUpTo4(weight + i, width - i, aligned),
                 b = LoadUpTo4(bias + i, width - i, aligned);
    StoreUpTo4(out + i, width - i, aligned,
               make_float4((v.x - mean) * scale * w.x + b.x, (v.y - mean) * scale * w.y + b.y,
                           (v.z - mean) * scale * w.z + b.z, (v.w - mean) * scale * w.w + b.w));
  }
}

}  // namespace bifrons::cuda
