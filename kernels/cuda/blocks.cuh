// Weights in blocks (src/base/blocks.h): how they stand in the GPU's memory, the small integers that rows
// become to be multiplied by them (kernels/quantize_row.h), and rows of tables.
#pragma once

#include <type_traits>

#include "kernels/cuda/copies.cuh"
#include "kernels/cuda/row_norm.cuh"
#include "kernels/quantize_row.h"
#include "src/base/blocks.h"

namespace bifrons::cuda {

// ---- what is in a block -----------------------------------------------------------------------------------
// As files have it. Blocks are aligned to 2 bytes, those of q4_k to 16.

constexpr int kGroupOf = static_cast<int>(kQuantizedGroup);  // values of a group

/// s and m of a group of BlockQ4_K, 0…63.
struct SixBits {
  uint32_t scale, min;
};
/// GroupsOf of src/base/blocks.cpp; `head`: the first 16 bytes of a block.
__device__ __forceinline__ SixBits SixBitsOf(uint4 head, int group) {
  const int shift = group % 4 * 8;
  const uint32_t first = head.y >> shift & 255u, second = head.z >> shift & 255u,
                 last = head.w >> shift & 255u;
  if (group < 4) return {first & 63u, second & 63u};
  return {(last & 15u) | (first >> 6) << 4, last >> 4 | (second >> 6) << 4};
}
__device__ __forceinline__ float ScaleOf(uint4 head) {
  return Widen(F16{static_cast<uint16_t>(head.x & 0xFFFFu)});
}
__device__ __forceinline__ float MinScaleOf(uint4 head) {
  return Widen(F16{static_cast<uint16_t>(head.x >> 16)});
}

/// What is stored of value i of group g of a row of blocks.
__device__ __forceinline__ int StoredValue(const BlockQ8_0* row, int64_t g, int i) { return row[g].q[i]; }
__device__ __forceinline__ int StoredValue(const BlockQ4_0* row, int64_t g, int i) {
  return row[g].q[i % 16] >> (i / 16 * 4) & 15;
}
__device__ __forceinline__ int StoredValue(const BlockQ4_K* row, int64_t g, int i) {
  return row[g / 8].q[g % 8 / 2 * 32 + i] >> (g % 2 * 4) & 15;
}

/// Value i of a row: Dequantize of src/base/blocks.cpp.
__device__ __forceinline__ float ValueOf(const BlockQ8_0* row, int64_t i) {
  return Widen(row[i / 32].scale) * static_cast<float>(StoredValue(row, i / 32, static_cast<int>(i % 32)));
}
__device__ __forceinline__ float ValueOf(const BlockQ4_0* row, int64_t i) {
  return Widen(row[i / 32].scale) *
         static_cast<float>(StoredValue(row, i / 32, static_cast<int>(i % 32)) - 8);
}
__device__ __forceinline__ float ValueOf(const BlockQ4_K* row, int64_t i) {
  const uint4 head = LoadUint4(row + i / 256);
  const SixBits bits = SixBitsOf(head, static_cast<int>(i % 256 / 32));
  const float scale = ScaleOf(head) * static_cast<float>(bits.scale);
  const float min = MinScaleOf(head) * static_cast<float>(bits.min);
  return scale * static_cast<float>(StoredValue(row, i / 32, static_cast<int>(i % 32))) - min;
}

/// to[r, :] = table[max(0, ids[r]), :], `width` values in whole blocks; NaN where the table ends before. A
/// block of threads for each r. The table may stand in the host's memory.
template <class B, class To>
__global__ void __launch_bounds__(kCopyThreads)
    LookUpBlocks(const B* table, int64_t table_rows, Rows<const int32_t> ids, int64_t width, To* to) {
  const int64_t id = max(0, ids.data[blockIdx.x * ids.stride]);
  const B* source = table + id * (width / B::kValues);
  To* target = to + blockIdx.x * width;
  for (int64_t i = threadIdx.x; i < width; i += kCopyThreads)
    target[i] = Narrow<To>(id < table_rows ? ValueOf(source, i) : FloatOf(0x7FC00000u));
}

// ---- the matrix -------------------------------------------------------------------------------------------

/// A matrix as tiles of 8 rows × 4 groups, one of which is a lane's: lane 8 · g + r has group g of row r.
constexpr int kRowsOfBlockTile = 8, kGroupsOfBlockTile = 4;

/// A group's bytes by 16: of q8_0 the steps of either half, of the others one nibble of the first half and
/// one of the second in each.
template <class B>
constexpr int kVectorsOfGroup = std::is_same_v<B, BlockQ8_0> ? 2 : 1;
/// What is stored is the step and so much.
template <class B>
constexpr int kStepOffset = std::is_same_v<B, BlockQ4_0> ? 8 : 0;
template <class B>
constexpr bool kHasMinima = std::is_same_v<B, BlockQ4_K>;
/// What a group's scale is made of: beside its steps, or of q4_k the first 16 bytes of the block, beside
/// those of the rows of its tile.
template <class B>
using ScaleOfGroup = std::conditional_t<kHasMinima<B>, uint4, F16>;

/// Where all that stands.
template <class B>
struct BlockMatrix {
  static constexpr int kVectors = kVectorsOfGroup<B>;
  const uint4* steps;             // [rows / 8, tiles, kVectors, 32 lanes]
  const ScaleOfGroup<B>* scales;  // [rows / 8, tiles, 32 lanes]; of q4_k [rows / 8, tiles / 2, 8]
  int groups, tiles;              // of a row

  /// Where a row's first group stands; the first of its vectors, and its scale.
  __device__ __forceinline__ uint32_t StepsAt(int64_t row) const {
    return static_cast<uint32_t>(row / kRowsOfBlockTile * tiles * kVectors * kWarp + row % kRowsOfBlockTile);
  }
  __device__ __forceinline__ uint32_t ScalesAt(int64_t row) const {
    const int64_t tile_row = row / kRowsOfBlockTile;
    const int64_t each = kHasMinima<B> ? tiles / 2 * kRowsOfBlockTile : tiles * kWarp;
    return static_cast<uint32_t>(tile_row * each + row % kRowsOfBlockTile);
  }
  /// From there on to a tile's: to a group's of it, in lanes of 8, too; of q4_k's scales all of a tile have
  /// one.
  static __device__ __forceinline__ uint32_t StepsOfTile(int tile) {
    return static_cast<uint32_t>(tile * kVectors * kWarp);
  }
  static __device__ __forceinline__ uint32_t ScalesOfTile(int tile, int group) {
    return static_cast<uint32_t>(kHasMinima<B> ? tile / 2 * kRowsOfBlockTile
                                               : tile * kWarp + group * kRowsOfBlockTile);
  }
};

constexpr int kRepackBlockThreads = 256;

/// Rows [first, first + rows) of the matrix of rows of blocks. A thread for each group of its tiles; beyond a
/// row's last they are zeros.
template <class B>
__global__ void __launch_bounds__(kRepackBlockThreads)
    RepackBlocks(const B* blocks, int64_t rows, int64_t first, const BlockMatrix<B> matrix, uint4* steps,
                 ScaleOfGroup<B>* scales) {
  const int64_t groups = int64_t{matrix.tiles} * kGroupsOfBlockTile;
  const int64_t i = int64_t{blockIdx.x} * kRepackBlockThreads + threadIdx.x;
  if (i >= rows * groups) return;
  const auto g = static_cast<int>(i % groups);
  const int tile = g / kGroupsOfBlockTile, group = g % kGroupsOfBlockTile;
  const int64_t row = i / groups;
  const bool there = g < matrix.groups;
  const B* const from = blocks + row * (matrix.groups * kGroupOf / B::kValues);
  uint4* const to = steps + matrix.StepsAt(first + row) + matrix.StepsOfTile(tile) + group * kRowsOfBlockTile;
#pragma unroll
  for (int v = 0; v < kVectorsOfGroup<B>; v++) {
    uint32_t words[4] = {};
#pragma unroll
    for (int at = 0; there && at < 16; at++) {
      uint32_t byte;
      if constexpr (kVectorsOfGroup<B> == 2) {
        byte = static_cast<uint32_t>(StoredValue(from, g, 16 * v + at)) & 255u;
      } else {
        byte = static_cast<uint32_t>(StoredValue(from, g, at) | StoredValue(from, g, 16 + at) << 4);
      }
      words[at / 4] |= byte << (at % 4 * 8);
    }
    to[v * kWarp] = make_uint4(words[0], words[1], words[2], words[3]);
  }
  ScaleOfGroup<B>* const scale = scales + matrix.ScalesAt(first + row) + matrix.ScalesOfTile(tile, group);
  if constexpr (kHasMinima<B>) {
    if (there && g % BlockQ4_K::kGroups == 0) *scale = LoadUint4(from + g / BlockQ4_K::kGroups);
  } else {
    *scale = there ? from[g].scale : F16{0};
  }
}

// ---- rows of activations ----------------------------------------------------------------------------------

/// Rows as QuantizeRow makes them.
struct QuantizedRows {
  uint4* steps;   // [rows, groups, 2]
  uint2* groups;  // [rows, groups]: the bits of a group's scale, and minus the sum of its steps
};

/// Beside 1.5 · 2²³ the last place of an f32 is a one: an integer up to 2²² in magnitude that is added to
/// these bits, is what the number is larger by.
constexpr int kOnesBits = 0x4B400000;
constexpr float kOnes = 12582912.0f;

constexpr int kQuantizeThreads = 128, kQuantizedAtOnce = 4 * kQuantizeThreads;

/// The rows x [rows, width], or with kNormed of rows normed as RmsNormRows does it. Blocks: rows in x, pieces
/// of kQuantizedAtOnce numbers in y, four of a thread. width is whole groups.
template <bool kNormed>
__global__ void __launch_bounds__(kQuantizeThreads)
    QuantizeRows(const float* x, bool aligned, int64_t width, const RowNorm norm, const QuantizedRows to) {
  constexpr int kLanes = kGroupOf / 4;  // of a group
  const float* const row = x + blockIdx.x * width;
  const int64_t i = int64_t{blockIdx.y} * kQuantizedAtOnce + 4 * threadIdx.x;
  float4 v = LoadUpTo4(row + i, width - i, aligned);
  if constexpr (kNormed) v = norm.Of4(v, i, width, norm.Scale<16>(row, width, aligned));
  // Magnitudes' bits are ordered as the numbers are, NaN above all.
  const auto magnitude = [](float value) { return BitsOf(value) & 0x7FFFFFFFu; };
  uint32_t largest_bits = max(max(magnitude(v.x), magnitude(v.y)), max(magnitude(v.z), magnitude(v.w)));
#pragma unroll
  for (int mask = 1; mask < kLanes; mask *= 2)
    largest_bits = max(largest_bits, ShuffleXor(largest_bits, mask));
  const float largest = FloatOf(largest_bits);
  const bool finite = largest_bits < 0x7F800000u, counts = finite && largest >= kLeastQuantized;
  const float inverse = counts ? 127.0f / largest : 0.0f;
  const auto step = [&](float value) {
    return counts ? static_cast<int>(BitsOf(value * inverse + kOnes)) - kOnesBits : 0;
  };
  const int steps[4] = {step(v.x), step(v.y), step(v.z), step(v.w)};
  int sum = steps[0] + steps[1] + steps[2] + steps[3];
#pragma unroll
  for (int mask = 1; mask < kLanes; mask *= 2) sum += ShuffleXor(sum, mask);
  if (i >= width) return;
  uint32_t word = 0;
#pragma unroll
  for (int j = 0; j < 4; j++) word |= (static_cast<uint32_t>(steps[j]) & 255u) << (8 * j);
  reinterpret_cast<uint32_t*>(to.steps)[(blockIdx.x * width + i) / 4] = word;
  if (threadIdx.x % kLanes == 0) {
    const float scale = !finite ? FloatOf(0x7FC00000u) : counts ? largest / 127.0f : 0.0f;
    to.groups[(blockIdx.x * width + i) / kGroupOf] = make_uint2(BitsOf(scale), static_cast<uint32_t>(-sum));
  }
}

}  // namespace bifrons::cuda
