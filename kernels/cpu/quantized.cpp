#include "kernels/cpu/quantized.h"

#include <cstring>

#include "kernels/cpu/stripe_rows.h"
#include "src/base/blocks.h"

namespace bifrons::cpu {
namespace {

void SetHalf(uint8_t* at, int64_t index, F16 value) { reinterpret_cast<F16*>(at)[index] = value; }

// Four values of a row at a time: byte by byte, packing would take as long as all else of a start.
template <class Byte>
uint32_t WordAt(const Byte* bytes) {
  uint32_t word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

// Word `w` of a group, of all its rows.
void SetWord(uint8_t* words, int64_t w, int64_t row, uint32_t word) {
  std::memcpy(words + (w * kStripe + row) * 4, &word, sizeof word);
}

// Of two words' bytes the low or the high halves: the first word's become the low ones.
constexpr uint32_t kLowHalves = 0x0F0F0F0F;
uint32_t LowHalves(uint32_t a, uint32_t b) { return (a & kLowHalves) | (b & kLowHalves) << 4; }
uint32_t HighHalves(uint32_t a, uint32_t b) { return (a >> 4 & kLowHalves) | (b & ~kLowHalves); }

void PackBlock(const BlockQ8_0& block, int64_t index, int64_t row, uint8_t* stripe) {
  uint8_t* group = stripe + index * kQ8_0GroupBytes;
  SetHalf(group, row, block.scale);
  for (int64_t w = 0; w < 8; w++)  // 128 more is the sign bit turned
    SetWord(group + kScaleBytes, w, row, WordAt(block.q + 4 * w) ^ 0x80808080);
}

void PackBlock(const BlockQ4_0& block, int64_t index, int64_t row, uint8_t* stripe) {
  uint8_t* group = stripe + index * kQ4GroupBytes;
  SetHalf(group, row, block.scale);
  for (int64_t w = 0; w < 2; w++) {
    const uint32_t a = WordAt(block.q + 8 * w), b = WordAt(block.q + 8 * w + 4);
    SetWord(group + kScaleBytes, w, row, LowHalves(a, b));
    SetWord(group + kScaleBytes, w + 2, row, HighHalves(a, b));
  }
}

void PackBlock(const BlockQ4_K& block, int64_t index, int64_t row, uint8_t* stripe) {
  uint8_t* packed = stripe + index * kQ4_KBlockBytes;
  SetHalf(packed, row, block.scale);
  SetHalf(packed, kStripe + row, block.min_scale);
  const GroupScales groups = GroupsOf(block);
  for (size_t g = 0; g < groups.scale.size(); g++) {
    uint8_t* group = packed + 2 * kScaleBytes + static_cast<int64_t>(g) * kQ4GroupBytes;
    group[row] = groups.scale[g], group[kStripe + row] = groups.min[g];
    const uint8_t* steps = block.q + g / 2 * 32;  // of two groups
    for (int64_t w = 0; w < 4; w++) {
      const uint32_t a = WordAt(steps + 8 * w), b = WordAt(steps + 8 * w + 4);
      SetWord(group + kScaleBytes, w, row, g % 2 == 0 ? LowHalves(a, b) : HighHalves(a, b));
    }
  }
}

template <class B>
void PackStripes(ThreadPool& pool, std::span<const TensorView> parts, PackedRows& rows) {
  const int64_t blocks = rows.in / B::kValues;
  pool.ParallelFor(rows.stripes(), [&](int64_t begin, int64_t end, int) {
    for (int64_t s = begin; s < end; s++) {
      const StripeRows<B> stripe = RowsOfStripe<B>(parts, s);
      uint8_t* packed = rows.weights.data() + static_cast<size_t>(s) * rows.stripe_bytes;
      for (int64_t b = 0; b < blocks; b++) {  // all rows' together: they fill the same lines
        for (int64_t row = 0; row < kStripe; row++) {
          if (stripe[static_cast<size_t>(row)] != nullptr)
            PackBlock(stripe[static_cast<size_t>(row)][b], b, row, packed);
        }
      }
    }
  });
}

}  // namespace

size_t QuantizedStripeBytes(DType type, int64_t in) {
  switch (type) {
    case DType::kQ8_0:
      return static_cast<size_t>(in / BlockQ8_0::kValues * kQ8_0GroupBytes);
    case DType::kQ4_0:
      return static_cast<size_t>(in / BlockQ4_0::kValues * kQ4GroupBytes);
    case DType::kQ4_K:
      return static_cast<size_t>(in / BlockQ4_K::kValues * kQ4_KBlockBytes);
    default:
      BIFRONS_CHECK(false, "%s has no blocks", NameOf(type));
  }
}

void PackQuantized(ThreadPool& pool, std::span<const TensorView> parts, PackedRows& rows) {
  switch (rows.stored) {
    case DType::kQ8_0:
      return PackStripes<BlockQ8_0>(pool, parts, rows);
    case DType::kQ4_0:
      return PackStripes<BlockQ4_0>(pool, parts, rows);
    case DType::kQ4_K:
      return PackStripes<BlockQ4_K>(pool, parts, rows);
    default:
      BIFRONS_CHECK(false, "%s has no blocks", NameOf(rows.stored));
  }
}

}  // namespace bifrons::cpu
