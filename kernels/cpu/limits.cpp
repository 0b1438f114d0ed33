#include "kernels/cpu/limits.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "kernels/cpu/row_kernels.h"
#include "kernels/cpu/tile_kernels.h"
#include "kernels/cpu/weight_memory.h"

namespace bifrons::cpu {
namespace {

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Multiply-accumulates done by a loop that never leaves the registers.
int64_t PeakMacs(Isa isa, DType compute, int64_t rounds) {
#if defined(__x86_64__)
  if (isa == Isa::kAmx && compute == DType::kBF16) {
    const SetUpTiles tiles;
    return kTileKernelsAmx.peak(rounds);
  }
#endif
  const RowKernels& kernels = GetRowKernels(isa);
  return compute == DType::kBF16 && kernels.peak_bf16 ? kernels.peak_bf16(rounds) : kernels.peak_f32(rounds);
}

}  // namespace

double MeasureBandwidth(ThreadPool& pool, size_t arena_bytes) {
  constexpr size_t kPart = size_t{1} << 20;
  const int64_t parts = std::max<size_t>(1, arena_bytes / kPart);
  WeightMemory arena(parts * kPart);
  pool.ParallelFor(parts, [&](int64_t begin, int64_t end, int) {
    std::fill(arena.data() + begin * kPart, arena.data() + end * kPart, uint8_t{1});
  });
  double best = 0;
  for (int pass = 0; pass < 5; pass++) {
    const double start = Seconds();
    pool.ParallelFor(parts, [&](int64_t begin, int64_t end, int) {
      // One word of every cache line moves the whole line. Four streams per thread keep more of the
      // hardware's prefetchers busy than one: on Zen 4, 29 GB/s against 20.
      const int64_t quarter = (end - begin) * static_cast<int64_t>(kPart / sizeof(uint64_t) / 4);
      const auto* words = reinterpret_cast<const uint64_t*>(arena.data() + begin * kPart);
      uint64_t a = 0, b = 0, c = 0, d = 0;
      for (int64_t i = 0; i < quarter; i += 8) {
        a += words[i], b += words[quarter + i], c += words[2 * quarter + i], d += words[3 * quarter + i];
      }
      asm volatile("" : : "r"(a + b + c + d));  // the sum is not wanted, reading is
    });
    best = std::max(best, static_cast<double>(parts * kPart) / (Seconds() - start));
  }
  return best;
}

double MeasureMacRate(ThreadPool& pool, Isa isa, DType compute) {
  double best = 0;
  for (int pass = 0; pass < 5; pass++) {
    std::atomic<int64_t> macs{0};
    const double start = Seconds();
    pool.ParallelFor(pool.threads(), [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; t++) macs += PeakMacs(isa, compute, int64_t{1} << 20);
    });
    best = std::max(best, static_cast<double>(macs.load()) / (Seconds() - start));
  }
  return best;
}

}  // namespace bifrons::cpu
