// Numbers stored in blocks: small integers that share a scale, byte for byte as GGUF files have them.
// (ggml: block_q8_0, block_q4_0, block_q4_K; PyPI's gguf: quants.py)
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "src/base/dtype.h"
#include "src/base/tensor.h"

namespace bifrons {

/// x[i] = scale · q[i]
struct BlockQ8_0 {
  static constexpr int kValues = 32;
  F16 scale;
  int8_t q[kValues];
};

/// x[i] = scale · (q[i] − 8). The low halves of the bytes are the first sixteen, the high halves the others.
struct BlockQ4_0 {
  static constexpr int kValues = 32;
  F16 scale;
  uint8_t q[kValues / 2];
};

/// Eight groups of 32: x[i] = scale · s · q[i] − min_scale · m, with six bits each for a group's s and m.
struct BlockQ4_K {
  static constexpr int kValues = 256, kGroups = 8, kGroup = 32;
  F16 scale, min_scale;
  uint8_t groups[12];      // every group's s and m, see GroupsOf
  uint8_t q[kValues / 2];  // of two groups 32 bytes: the first one's in the low halves
};

static_assert(sizeof(BlockQ8_0) == BlockOf(DType::kQ8_0).bytes);
static_assert(sizeof(BlockQ4_0) == BlockOf(DType::kQ4_0).bytes);
static_assert(sizeof(BlockQ4_K) == BlockOf(DType::kQ4_K).bytes);

/// s and m of every group of a block, 0…63.
struct GroupScales {
  std::array<uint8_t, BlockQ4_K::kGroups> scale, min;
};
GroupScales GroupsOf(const BlockQ4_K& block);

/// All blocks of a tensor of their type.
template <class B>
std::span<const B> BlocksOf(const TensorView& tensor) {
  BIFRONS_CHECK(tensor.bytes() == static_cast<size_t>(tensor.shape.elements() / B::kValues) * sizeof(B));
  return {static_cast<const B*>(tensor.data), tensor.bytes() / sizeof(B)};
}

/// Blocks of `type` from x [n], whole blocks. q8_0 and q4_0 have the bytes that gguf.quantize makes. A block
/// of q8_0 with NaN or infinity is read back as NaN.
void Quantize(const float* x, int64_t n, DType type, void* blocks);

/// x [n] of whole blocks.
void Dequantize(const void* blocks, DType type, int64_t n, float* x);

}  // namespace bifrons
