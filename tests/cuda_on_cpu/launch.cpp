#include "tests/cuda_on_cpu/launch.h"

#include <cxxabi.h>
#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <numeric>
#include <thread>

namespace cuda_emulator {
namespace {

constexpr uint64_t kWorthAThread = 8192;  // threads of a grid

// Blocks keep their stacks from launch to launch.
struct Blocks {
  std::mutex mutex;
  std::vector<std::unique_ptr<Block>> idle;

  std::unique_ptr<Block> Take() {
    const std::lock_guard lock(mutex);
    if (idle.empty()) return std::make_unique<Block>();
    std::unique_ptr<Block> block = std::move(idle.back());
    idle.pop_back();
    return block;
  }
  void GiveBack(std::unique_ptr<Block> block) {
    const std::lock_guard lock(mutex);
    idle.push_back(std::move(block));
  }
};

Blocks& AllBlocks() {
  static auto* const blocks = new Blocks;  // never goes: threads may end after main
  return *blocks;
}

}  // namespace

void RunGrid(const Grid& grid, int threads) {
  const uint64_t count = uint64_t{grid.blocks.x} * grid.blocks.y * grid.blocks.z;
  std::vector<uint32_t> shuffled;
  if (grid.order == Order::kRandom || grid.order == Order::kOtherRandom) {
    shuffled.resize(count);
    std::iota(shuffled.begin(), shuffled.end(), 0);
    Random random(grid.seed);
    for (size_t i = 0; i + 1 < count; i++)
      std::swap(shuffled[i], shuffled[i + random.Below(static_cast<uint32_t>(count - i))]);
  }
  std::atomic<uint64_t> next{0};
  const auto work = [&] {
    std::unique_ptr<Block> block = AllBlocks().Take();
    for (uint64_t i; (i = next++) < count;) {
      const uint64_t in_order = grid.order == Order::kReverse ? count - 1 - i : i;
      block->Run(grid, shuffled.empty() ? in_order : shuffled[i]);
    }
    AllBlocks().GiveBack(std::move(block));
  };
  const uint64_t all_threads = count * grid.threads.x * grid.threads.y * grid.threads.z;
  std::vector<std::jthread> helpers;
  if (all_threads >= kWorthAThread) {
    for (int i = 1; i < threads && static_cast<uint64_t>(i) < count; i++) helpers.emplace_back(work);
  }
  work();
}

std::string KernelName(const void* kernel) {
  Dl_info info = {};
  if (dladdr(kernel, &info) == 0 || info.dli_sname == nullptr) return "without a name";
  int status = 0;
  char* plain = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status);
  std::string name = status == 0 ? plain : info.dli_sname;
  std::free(plain);
  return name;
}

}  // namespace cuda_emulator
