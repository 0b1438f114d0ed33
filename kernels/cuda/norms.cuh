// Norms of rows as kernels of their own.
#pragma once

#include "kernels/cuda/copies.cuh"
#include "kernels/cuda/row_norm.cuh"

namespace bifrons::cuda {

constexpr int kRowNormThreads = 256;

/// The sum of `term` over a row's numbers, to all threads: each adds up four in every 4 · kRowNormThreads.
template <class Term>
__device__ __forceinline__ float RowSum(const float* row, int64_t width, const Term& term) {
  float sum = 0;
  for (int64_t i = 4 * threadIdx.x; i < width; i += 4 * kRowNormThreads) {
    const float4 v = LoadUpTo4(row + i, width - i, false);
    sum += term(v.x);
    if (i + 1 < width) sum += term(v.y);
    if (i + 2 < width) sum += term(v.z);
    if (i + 3 < width) sum += term(v.w);
  }
  return BlockSum<kRowNormThreads>(sum);
}

constexpr int kRmsNormThreads = 128;

/// RmsNorm of rows of `width`, a block for each, whose warps each find the scale and write a share; y may be
/// x. `aligned`: every row of both, and the weight.
__global__ void __launch_bounds__(kRmsNormThreads)
    RmsNormRows(Rows<const float> x, const RowNorm norm, int64_t width, bool aligned, Rows<float> y) {
  const float* in = x.data + blockIdx.x * x.stride;
  float* out = y.data + blockIdx.x * y.stride;
  const float scale = norm.Scale<16>(in, width, aligned);
  __syncthreads();  // all warps have read the row
  if (aligned) {
    constexpr int kAtOnce = 4;
    for (int64_t first = 4 * threadIdx.x; first < width; first += kAtOnce * 4 * kRmsNormThreads) {
      float4 v[kAtOnce], w[kAtOnce];
#pragma unroll
      for (int j = 0; j < kAtOnce; j++) {
        const int64_t i = min(first + j * 4 * kRmsNormThreads, width - 4);
        v[j] = LoadFloat4(in + i), w[j] = LoadFloat4(norm.weight + i);
      }
#pragma unroll
      for (int j = 0; j < kAtOnce; j++) {
        const int64_t i = first + j * 4 * kRmsNormThreads;
        if (i < width) StoreFloat4(out + i, norm.Of4(v[j], w[j], scale));
      }
    }
    return;
  }
  for (int64_t i = threadIdx.x; i < width; i += kRmsNormThreads) out[i] = in[i] * scale * norm.weight[i];
}

/// y = (x − mean) / sqrt(variance + eps) · weight + bias over each row of `width`; y may be x. Each thread
/// has four numbers in every 4 · kRowNormThreads: kFours times four at most, which are loaded together and
/// kept, where every row, weight and bias are aligned; else kFours is 0.
template <int kFours>
__global__ void __launch_bounds__(kRowNormThreads)
    LayerNormRows(Rows<const float> x, const float* weight, const float* bias, float eps, int64_t width,
                  Rows<float> y) {
  const float* in = x.data + blockIdx.x * x.stride;
  float* out = y.data + blockIdx.x * y.stride;
  const auto n = static_cast<float>(width);
  const auto norm = [&](float4 v, float4 w, float4 b, float mean, float scale) {
    return make_float4((v.x - mean) * scale * w.x + b.x, (v.y - mean) * scale * w.y + b.y,
                       (v.z - mean) * scale * w.z + b.z, (v.w - mean) * scale * w.w + b.w);
  };
  if constexpr (kFours == 0) {
    const float mean = RowSum(in, width, [](float v) { return v; }) / n;
    const float squares = RowSum(in, width, [mean](float v) { return (v - mean) * (v - mean); });
    const float scale = 1.0f / sqrtf(squares / n + eps);
    for (int64_t i = 4 * threadIdx.x; i < width; i += 4 * kRowNormThreads) {
      const float4 v = LoadUpTo4(in + i, width - i, false), w = LoadUpTo4(weight + i, width - i, false),
                   b = LoadUpTo4(bias + i, width - i, false);
      StoreUpTo4(out + i, width - i, false, norm(v, w, b, mean, scale));
    }
  } else {
    float4 v[kFours], w[kFours], b[kFours];
#pragma unroll
    for (int j = 0; j < kFours; j++) {
      const int64_t i = min(4 * (threadIdx.x + int64_t{j} * kRowNormThreads), width - 4);
      v[j] = LoadFloat4(in + i), w[j] = LoadFloat4(weight + i), b[j] = LoadFloat4(bias + i);
    }
    const auto is_there = [&](int j) { return 4 * (threadIdx.x + int64_t{j} * kRowNormThreads) < width; };
    const auto sum = [&](const auto& term) {
      float sum = 0;
#pragma unroll
      for (int j = 0; j < kFours; j++) {
        const float next = sum + term(v[j].x) + term(v[j].y) + term(v[j].z) + term(v[j].w);
        sum = is_there(j) ? next : sum;
      }
      return BlockSum<kRowNormThreads>(sum);
    };
    const float mean = sum([](float v) { return v; }) / n;
    const float squares = sum([mean](float v) { return (v - mean) * (v - mean); });
    const float scale = 1.0f / sqrtf(squares / n + eps);
#pragma unroll
    for (int j = 0; j < kFours; j++) {
      if (is_there(j))
        StoreFloat4(out + 4 * (threadIdx.x + int64_t{j} * kRowNormThreads),
                    norm(v[j], w[j], b[j], mean, scale));
    }
  }
}

}  // namespace bifrons::cuda
