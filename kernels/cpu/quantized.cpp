#include "kernels/cpu/quantized.h"

#include <array>

#include "kernels/cpu/stripe_rows.h"
#include "src/base/blocks.h"

namespace bifrons::cpu {
namespace {

void SetHalf(uint8_t* at, int64_t index, F16 value) { reinterpret_cast<F16*>(at)[index] = value; }

// Where four values of a row stand: word `w` of a group, of all its rows.
uint8_t* Word(uint8_t* words, int64_t w, int64_t row) { return words + (w * kStripe + row) * 4; }

// 32 steps of half a byte as words of two: what stands eight words apart in `in` shares no byte.
void PackNibbles(const std::array<uint8_t, 32>& steps, int64_t row, uint8_t* words) {
  for (int64_t k = 0; k < 32; k += 8) {
    uint8_t* to = Word(words, k / 8, row);
    for (int64_t i = 0; i < 4; i++)
      to[i] = static_cast<uint8_t>(steps[static_cast<size_t>(k + i)] | steps[static_cast<size_t>(k + 4 + i)]
                                                                           << 4);
  }
}

void PackBlock(const BlockQ8_0& block, int64_t index, int64_t row, uint8_t* stripe) {
  uint8_t* group = stripe + index * kQ8_0GroupBytes;
  SetHalf(group, row, block.scale);
  for (int64_t k = 0; k < 32; k++) {
    Word(group + kScaleBytes, k / 4, row)[k % 4] = static_cast<uint8_t>(block.q[k] + 128);
  }
}

void PackBlock(const BlockQ4_0& block, int64_t index, int64_t row, uint8_t* stripe) {
  uint8_t* group = stripe + index * kQ4GroupBytes;
  SetHalf(group, row, block.scale);
  std::array<uint8_t, 32> steps;
  for (size_t i = 0; i < 16; i++) steps[i] = block.q[i] & 15, steps[i + 16] = block.q[i] >> 4;
  PackNibbles(steps, row, group + kScaleBytes);
}

void PackBlock(const BlockQ4_K& block, int64_t index, int64_t row, uint8_t* stripe) {
  uint8_t* packed = stripe + index * kQ4_KBlockBytes;
  SetHalf(packed, row, block.scale);
  SetHalf(packed, kStripe + row, block.min_scale);
  const GroupScales groups = GroupsOf(block);
  for (size_t g = 0; g < groups.scale.size(); g++) {
    uint8_t* group = packed + 2 * kScaleBytes + static_cast<int64_t>(g) * kQ4GroupBytes;
    group[row] = groups.scale[g], group[kStripe + row] = groups.min[g];
    std::array<uint8_t, 32> steps;
    for (size_t i = 0; i < steps.size(); i++) steps[i] = block.q[g / 2 * 32 + i] >> (g % 2 * 4) & 15;
    PackNibbles(steps, row, group + kScaleBytes);
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
