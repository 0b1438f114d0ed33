// What fabricated /proc and /sys/fs/cgroup files say there is left.
#include "src/base/available_memory.h"

#include <catch2/catch.hpp>
#include <limits>

#include "tests/run_program.h"

namespace bifrons {
namespace {

constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();

// A system's files below a folder of their own.
class System {
 public:
  System& With(const std::string& path, const std::string& text) {
    fs::create_directories((root_.path() / path).parent_path());
    WriteText(root_ / path, text);
    return *this;
  }
  uint64_t Available() const { return AvailableMemory(root_.path()); }

 private:
  TemporaryFolder root_;
};

TEST_CASE("what nobody limits is unlimited, and what cannot be read limits nothing") {
  System system;
  CHECK(system.Available() == kUnlimited);
  system.With("proc/meminfo", "MemTotal:  900 kB\nMemAvailable:\n")
      .With("proc/self/cgroup", "rubbish\n0:\n:::\n\n0::/a/b\n3:memory\n4:memory:/a\n")
      .With("proc/self/limits", "Max address space         unlimited            unlimited   bytes\n")
      .With("proc/self/status", "VmSize:\t   5000 kB\n");
  CHECK(system.Available() == kUnlimited);
  for (const char* text : {"", "max", "max\n", "-1\n", "12x4\n", "99999999999999999999999\n", "\n7\n"}) {
    CAPTURE(text);
    CHECK(system.With("sys/fs/cgroup/a/memory.max", text).Available() == kUnlimited);
    CHECK(system.With("sys/fs/cgroup/memory/a/memory.limit_in_bytes", text).Available() == kUnlimited);
  }
  CHECK(system.With("proc/meminfo", "MemAvailable: 99999999999999999999 kB\n").Available() == kUnlimited);
  CHECK(system.With("proc/meminfo", "MemAvailable: 18446744073709551615 kB\n").Available() == kUnlimited);
}

TEST_CASE("the system's available memory") {
  System system;
  system.With("proc/meminfo", "MemTotal:       24737380 kB\nMemAvailable:   24048128 kB\n");
  CHECK(system.Available() == uint64_t{24048128} * 1024);
}

TEST_CASE("a version 2 group has left what it does not use, and file pages are not used") {
  System system;
  system.With("proc/self/cgroup", "0::/job\n").With("sys/fs/cgroup/job/memory.max", "10000\n");
  CHECK(system.Available() == 10000);
  system.With("sys/fs/cgroup/job/memory.current", "7000\n");
  CHECK(system.Available() == 3000);
  system.With("sys/fs/cgroup/job/memory.stat",
              "anon 2000\nfile 5000\nworkingset_inactive_file 99\ninactive_file 1500\nactive_file 2500\n");
  CHECK(system.Available() == 7000);
  CHECK(system.With("sys/fs/cgroup/job/memory.high", "9000\n").Available() == 6000);
  CHECK(system.With("sys/fs/cgroup/job/memory.high", "max\n").Available() == 7000);
  // Files are read one after another, so that they need not agree.
  CHECK(system.With("sys/fs/cgroup/job/memory.current", "14500\n").Available() == 0);
  CHECK(system.With("sys/fs/cgroup/job/memory.current", "100\n").Available() == 10000);
  CHECK(system.With("sys/fs/cgroup/job/memory.current", "much\n").Available() == 10000);
}

TEST_CASE("the tightest of nested groups counts, by what is left in it") {
  System system;
  system.With("proc/self/cgroup", "0::/outer/middle/inner\n")
      .With("sys/fs/cgroup/outer/memory.max", "100000\n")
      .With("sys/fs/cgroup/outer/memory.current", "95000\n")
      .With("sys/fs/cgroup/outer/middle/memory.max", "max\n")
      .With("sys/fs/cgroup/outer/middle/memory.current", "94000\n")
      .With("sys/fs/cgroup/outer/middle/inner/memory.max", "20000\n")
      .With("sys/fs/cgroup/outer/middle/inner/memory.current", "1000\n");
  CHECK(system.Available() == 5000);
  CHECK(system.With("sys/fs/cgroup/outer/memory.current", "10000\n").Available() == 19000);
  // A container may see its own group as the root, by the host's path.
  CHECK(system.With("sys/fs/cgroup/memory.max", "700\n").Available() == 700);
}

TEST_CASE("a version 1 group counts with the groups below it, beside a version 2 hierarchy without memory") {
  System system;
  system.With("proc/self/cgroup", "9:cpuset:/\n4:hugetlb,memory:/job/task\n0::/\n")
      .With("sys/fs/cgroup/memory/job/task/memory.limit_in_bytes", "9223372036854771712\n")
      .With("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "50000\n")
      .With("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "30000\n");
  CHECK(system.Available() == 20000);
  system.With("sys/fs/cgroup/memory/job/memory.stat",
              "inactive_file 1\nactive_file 2\ntotal_inactive_file 4000\ntotal_active_file 6000\n");
  CHECK(system.Available() == 30000);
}

TEST_CASE("an address-space limit has left what is not mapped") {
  System system;
  system.With("proc/self/limits",
              "Limit                     Soft Limit           Hard Limit           Units\n"
              "Max data size             1000                 unlimited            bytes\n"
              "Max address space         9000000              unlimited            bytes\n");
  CHECK(system.Available() == 9000000);
  system.With("proc/self/status", "Name:\tx\nVmPeak:\t 8000 kB\nVmSize:\t    5000 kB\n");
  CHECK(system.Available() == 9000000 - 5000 * 1024);
  CHECK(system.With("proc/self/status", "VmSize:\t    50000 kB\n").Available() == 0);
}

TEST_CASE("this machine has some memory left, and this process has held some") {
  CHECK(AvailableMemory() > 0);
  CHECK(MostResidentMemory() > uint64_t{1} << 20);
}

}  // namespace
}  // namespace bifrons
