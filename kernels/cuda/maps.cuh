// What is done to feature maps and pictures besides convolution and normalisation.
#pragma once

#include "kernels/cuda/vectors.cuh"

namespace bifrons::cuda {

constexpr int kMapThreads = 256;  // of kernels whose threads have nothing to do with each other

/// out [2·height, 2·width] of in [height, width], pixels of `units` Units; blocks along a line's units in x,
/// over lines in y.
template <class Unit>
__global__ void __launch_bounds__(kMapThreads)
    Upsample2xKernel(const Unit* in, int64_t height, int64_t width, int64_t units, Unit* out) {
  const int64_t line = width * units, at = int64_t{blockIdx.x} * kMapThreads + threadIdx.x;
  if (at >= line) return;
  const int64_t x = at / units;
  for (int64_t y = blockIdx.y; y < height; y += gridDim.y) {
    const Unit unit = in[y * line + at];
    Unit* const to = out + 4 * y * line + x * units + at;  // pixel x is pixels 2x and 2x + 1
    to[0] = to[units] = to[2 * line] = to[2 * line + units] = unit;
  }
}

/// rows [patches, channels · patch²] of a picture [channels, height, width], a block per patch.
__global__ void __launch_bounds__(kMapThreads)
    UnfoldPatchesKernel(const float* picture, int64_t channels, int64_t height, int64_t width, int64_t patch,
                        float* rows) {
  const int64_t across = width / patch, number = blockIdx.x, numbers = channels * patch * patch;
  const float* const corner = picture + (number / across * width + number % across) * patch;
  for (int64_t i = threadIdx.x; i < numbers; i += kMapThreads) {
    const int64_t line = i / patch, channel = line / patch, y = line % patch, x = i % patch;
    rows[number * numbers + i] = corner[(channel * height + y) * width + x];
  }
}

/// clip((x + 1) / 2 · 255), truncated; NaN is 0.
__device__ __forceinline__ uint32_t ByteOf(float x) {
  const float value = (x + 1.0f) / 2.0f * 255.0f;
  return value > 0.0f ? static_cast<uint32_t>(fminf(value, 255.0f)) : 0u;
}

/// out [n] = bytes of in [n], kCount (1 or 4) of them per thread; n a multiple of that.
template <int kCount>
__global__ void __launch_bounds__(kMapThreads) ToBytesKernel(const float* in, int64_t n, uint8_t* out) {
  const int64_t at = (int64_t{blockIdx.x} * kMapThreads + threadIdx.x) * kCount;
  if (at >= n) return;
  float x[kCount];
  Load(in + at, x);
  if constexpr (kCount == 1) {
    out[at] = static_cast<uint8_t>(ByteOf(x[0]));
  } else {
    *reinterpret_cast<uint32_t*>(out + at) =
        ByteOf(x[0]) | ByteOf(x[1]) << 8 | ByteOf(x[2]) << 16 | ByteOf(x[3]) << 24;
  }
}

constexpr int kCodewordThreads = 256, kCodewordRows = 4;

/// codes [rows] = for each row of z [rows, dim], scaled to length 1, the column of codebook [dim, size] with
/// the least z² + e² − 2·z·e, squares [size] being the e²; the first of equals. A block has kCodewordRows
/// rows, which share what it reads, and kCodewordRows · dim dynamic floats. janus/models/vq_model.py:
/// VectorQuantizer.forward
__global__ void __launch_bounds__(kCodewordThreads)
    NearestCodewordKernel(const float* z, int64_t rows, int64_t dim, const float* codebook, int64_t size,
                          const float* squares, int32_t* codes) {
  constexpr int kWarps = kCodewordThreads / kWarp;
  DYNAMIC_SHARED(float, units);  // [dim, kCodewordRows]
  SHARED_ARRAY(float, own, kCodewordRows);
  SHARED_ARRAY(float, warp_nearest, kWarps* kCodewordRows);
  SHARED_ARRAY(int32_t, warp_codes, kWarps * kCodewordRows);
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t first = int64_t{blockIdx.x} * kCodewordRows;

  if (thread < kCodewordRows) {
    // Rows beyond the last are the last once more.
    const int64_t row = first + thread < rows ? first + thread : rows - 1;
    const float* const numbers = z + row * dim;
    float length = 0, sum = 0;
    for (int64_t j = 0; j < dim; j++) length += numbers[j] * numbers[j];
    length = fmaxf(sqrtf(length), 1e-12f);  // torch.nn.functional.normalize
    for (int64_t j = 0; j < dim; j++) {
      const float unit = numbers[j] / length;
      units[j * kCodewordRows + thread] = unit;
      sum += unit * unit;
    }
    own[thread] = sum;
  }
  __syncthreads();

  float nearest[kCodewordRows];
  int32_t code[kCodewordRows];
#pragma unroll
  for (int r = 0; r < kCodewordRows; r++) nearest[r] = FloatOf(0x7F800000u), code[r] = 0;
  for (int64_t i = thread; i < size; i += kCodewordThreads) {
    float dots[kCodewordRows] = {};
    for (int64_t j = 0; j < dim; j++) {
      const float entry = codebook[j * size + i];
      const float4 unit = LoadFloat4(units + j * kCodewordRows);
      dots[0] += unit.x * entry, dots[1] += unit.y * entry;
      dots[2] += unit.z * entry, dots[3] += unit.w * entry;
    }
#pragma unroll
    for (int r = 0; r < kCodewordRows; r++) {
      const float distance = own[r] + squares[i] - 2 * dots[r];
      if (distance < nearest[r]) nearest[r] = distance, code[r] = static_cast<int32_t>(i);
    }
  }

  const auto take = [](float& a, int32_t& a_code, float b, int32_t b_code) {
    if (b < a || (b == a && b_code < a_code)) a = b, a_code = b_code;
  };
#pragma unroll
  for (int r = 0; r < kCodewordRows; r++) {
    for (int mask = kWarp / 2; mask > 0; mask /= 2)
      take(nearest[r], code[r], ShuffleXor(nearest[r], mask), ShuffleXor(code[r], mask));
    if (thread % kWarp == 0) {
      warp_nearest[thread / kWarp * kCodewordRows + r] = nearest[r];
      warp_codes[thread / kWarp * kCodewordRows + r] = code[r];
    }
  }
  __syncthreads();
  if (thread < kCodewordRows && first + thread < rows) {
    float least = warp_nearest[thread];
    int32_t least_code = warp_codes[thread];
    for (int w = 1; w < kWarps; w++)
      take(least, least_code, warp_nearest[w * kCodewordRows + thread],
           warp_codes[w * kCodewordRows + thread]);
    codes[first + thread] = least_code;
  }
}

}  // namespace bifrons::cuda
