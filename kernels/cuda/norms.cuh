// Norms of rows as kernels of their own.
#pragma once

#include "kernels/cuda/copies.cuh"
#include "kernels/cuda/row_norm.cuh"

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

constexpr int kRmsNormThreads = 128;

/// RmsNorm of rows of `width`, a warp for each; y may be x. `aligned`: every row of both.
__global__ void __launch_bounds__(kRmsNormThreads)
    RmsNormRows(Rows<const float> x, const RowNorm norm, int64_t rows, int64_t width, bool aligned,
                Rows<float> y) {
  const int64_t row = int64_t{blockIdx.x} * (kRmsNormThreads / kWarp) + threadIdx.x / kWarp;
  if (row >= rows) return;  // a whole warp, and nobody waits for it
  const float* in = x.data + row * x.stride;
  float* out = y.data + row * y.stride;
  const float scale = norm.Scale(in, width, aligned);
  for (int64_t i = 4 * (threadIdx.x % kWarp); i < width; i += 4 * kWarp) {
    StoreUpTo4(out + i, width - i, aligned, norm.Of4(LoadUpTo4(in + i, width - i, aligned), i, width, scale));
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
