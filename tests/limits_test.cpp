// How much memory the measurement of its speed takes.
#include "kernels/cpu/limits.h"

#include <catch2/catch.hpp>

#include "tests/run_program.h"

namespace bifrons {
namespace {

constexpr size_t kMegabyte = size_t{1} << 20;

void WriteCache(const TemporaryFolder& root, int cpu, int index, const std::string& level,
                const std::string& size, const std::string& cpus) {
  const fs::path folder = root.path() / "sys/devices/system/cpu" / ("cpu" + std::to_string(cpu)) / "cache" /
                          ("index" + std::to_string(index));
  fs::create_directories(folder);
  WriteText(folder / "level", level + "\n");
  WriteText(folder / "size", size + "\n");
  WriteText(folder / "shared_cpu_list", cpus + "\n");
}

TEST_CASE("the caches of the last level count once for all processors that share them") {
  const TemporaryFolder root;
  CHECK(LastLevelCacheBytes(root.path()) == 0);
  for (int cpu = 0; cpu < 6; cpu++) {
    const int first = cpu / 2 * 2;
    WriteCache(root, cpu, 0, "1", "32K", std::to_string(cpu));
    WriteCache(root, cpu, 1, "2", "1024K", std::to_string(cpu));
    WriteCache(root, cpu, 2, "3", first == 4 ? "16M" : "32768K",
               std::to_string(first) + "-" + std::to_string(first + 1));
  }
  CHECK(LastLevelCacheBytes(root.path()) == (32 + 32 + 16) * kMegabyte);
  // A processor that is off has no caches.
  fs::create_directories(root.path() / "sys/devices/system/cpu/cpu6");
  WriteCache(root, 7, 0, "3", "8M", "7");
  CHECK(LastLevelCacheBytes(root.path()) == (32 + 32 + 16 + 8) * kMegabyte);
  for (const char* rubbish : {"", "much", "-1K", "12", "99999999999999999999K", "18446744073709551615G"}) {
    CAPTURE(rubbish);
    WriteCache(root, 7, 0, "3", rubbish, "7");
    CHECK(LastLevelCacheBytes(root.path()) == (32 + 32 + 16) * kMegabyte);
  }
}

TEST_CASE("the arena exceeds the caches and stays a small share of the memory") {
  const uint64_t plenty = uint64_t{24} << 30;
  CHECK(BandwidthArenaBytes(32 * kMegabyte, plenty) == 256 * kMegabyte);
  CHECK(BandwidthArenaBytes(0, plenty) >= 256 * kMegabyte);
  CHECK(BandwidthArenaBytes(32 * kMegabyte, uint64_t{2} << 30) == 128 * kMegabyte);
  CHECK(BandwidthArenaBytes(1200 * kMegabyte, plenty) == plenty / 16);
  CHECK(BandwidthArenaBytes(32 * kMegabyte, 0) == kMegabyte);
  CHECK(BandwidthArenaBytes(0, UINT64_MAX) <= uint64_t{1} << 30);
}

}  // namespace
}  // namespace bifrons
