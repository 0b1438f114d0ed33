#include "kernels/cpu/limits.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "kernels/cpu/row_kernels.h"
#include "kernels/cpu/tile_kernels.h"
#include "kernels/cpu/weight_memory.h"
#include "src/base/available_memory.h"

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

constexpr size_t kPart = size_t{1} << 20;

std::string FirstWord(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

// "32768K", "64M"; 0 for anything else.
size_t CacheSize(const std::string& text) {
  size_t size = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size);
  if (error != std::errc()) return 0;
  const std::string unit(end, text.data() + text.size());
  const int shift = unit == "K" ? 10 : unit == "M" ? 20 : unit == "G" ? 30 : 64;
  return shift < 64 && size <= SIZE_MAX >> shift ? size << shift : 0;
}

}  // namespace

size_t LastLevelCacheBytes(const std::string& root) {
  namespace fs = std::filesystem;
  std::error_code error;
  // Processors that share a cache name the same list.
  std::map<std::string, size_t> caches;
  for (int cpu = 0;; cpu++) {
    const std::string folder = root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu);
    if (!fs::is_directory(folder, error)) break;
    int highest = 0;
    std::string last;
    for (int i = 0;; i++) {
      const std::string index = folder + "/cache/index" + std::to_string(i);
      const std::string level = FirstWord(index + "/level");
      if (level.empty()) break;
      if (std::atoi(level.c_str()) > highest) highest = std::atoi(level.c_str()), last = index;
    }
    if (last.empty()) continue;
    caches[FirstWord(last + "/shared_cpu_list")] = CacheSize(FirstWord(last + "/size"));
  }
  size_t bytes = 0;
  for (const auto& [processors, size] : caches) bytes += size;
  return bytes;
}

size_t BandwidthArenaBytes(size_t cache, uint64_t available) {
  constexpr size_t kTimes = 8, kShare = 16;
  // Of a machine that does not tell, more than most have.
  constexpr size_t kUnknown = size_t{64} << 20;
  const uint64_t wanted = kTimes * (cache > 0 ? cache : kUnknown);
  return std::max<uint64_t>(1, std::min(wanted, available / kShare) / kPart) * kPart;
}

double MeasureBandwidth(ThreadPool& pool) {
  const auto parts =
      static_cast<int64_t>(BandwidthArenaBytes(LastLevelCacheBytes(), AvailableMemory()) / kPart);
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
