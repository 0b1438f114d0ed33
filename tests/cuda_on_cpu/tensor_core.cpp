// mma.sync.m16n8k16 of bf16 for a whole warp at once.
#include <cmath>
#include <cstring>

#include "tests/cuda_on_cpu/block.h"

namespace cuda_emulator {
namespace {

constexpr int kRows = 16, kColumns = 8, kDepth = 16;

// The two bf16 of a word, at to[0] and to[step].
void Widen(unsigned pair, float* to, int step) {
  const unsigned bits[2] = {pair << 16, pair & 0xFFFF0000u};
  std::memcpy(&to[0], &bits[0], sizeof(float));
  std::memcpy(&to[step], &bits[1], sizeof(float));
}

}  // namespace

void MultiplyTile(const uint64_t* operands) {
  float a[kRows][kDepth], b[kDepth][kColumns], sums[kRows][kColumns];
  const auto of = [&](unsigned lane) { return reinterpret_cast<const TileOperands*>(operands[lane]); };
  for (unsigned lane = 0; lane < kLanes; lane++) {
    const TileOperands& brought = *of(lane);
    const unsigned group = lane / 4, pair = lane % 4 * 2;
    Widen(brought.a.x, &a[group][pair], 1);
    Widen(brought.a.y, &a[group + 8][pair], 1);
    Widen(brought.a.z, &a[group][pair + 8], 1);
    Widen(brought.a.w, &a[group + 8][pair + 8], 1);
    Widen(brought.b.x, &b[pair][group], kColumns);
    Widen(brought.b.y, &b[pair + 8][group], kColumns);
    for (unsigned i = 0; i < 2; i++) {
      sums[group][pair + i] = brought.sums[i];
      sums[group + 8][pair + i] = brought.sums[2 + i];
    }
  }
  for (int row = 0; row < kRows; row++) {
    for (int k = 0; k < kDepth; k++) {
      for (int column = 0; column < kColumns; column++)
        sums[row][column] = std::fmaf(a[row][k], b[k][column], sums[row][column]);
    }
  }
  for (unsigned lane = 0; lane < kLanes; lane++) {
    const TileOperands& brought = *of(lane);
    const unsigned group = lane / 4, pair = lane % 4 * 2;
    for (unsigned i = 0; i < 2; i++) {
      brought.sums[i] = sums[group][pair + i];
      brought.sums[2 + i] = sums[group + 8][pair + i];
    }
  }
}

}  // namespace cuda_emulator
