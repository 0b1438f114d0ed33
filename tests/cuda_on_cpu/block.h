// One block of a grid: its threads, warps and shared memory.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "tests/cuda_on_cpu/emulator.h"
#include "tests/cuda_on_cpu/fiber.h"
#include "tests/cuda_on_cpu/random.h"

namespace cuda_emulator {

constexpr unsigned kLanes = 32;
// The least of what the GPUs have that kernels are written for.
constexpr size_t kMostThreads = 1024;
constexpr size_t kMostShared = 48 << 10;  // bytes of a block
/// The same with cudaFuncSetAttribute: 7.5 has 64 KiB, 8.6, 8.9 and 12.0 have 99.
constexpr size_t MostSharedAllowed(int capability) { return (capability < 80 ? 64 : 99) << 10; }
constexpr size_t kMostSharedAnywhere = MostSharedAllowed(80);

/// mma.sync.m16n8k16 of bf16: what the 32 lanes brought is multiplied, each one's sums are written.
void MultiplyTile(const uint64_t* operands);

/// What all blocks of a launch share.
struct Grid {
  dim3 blocks, threads;
  size_t dynamic_bytes = 0;
  size_t most_shared = kMostShared;  // that the kernel was allowed
  const char* kernel = "";           // its name
  std::function<void()> thread;
  Order order = Order::kForward;
  uint64_t seed = 0;
};

class Warp;
class Block;

/// 16 bytes on their way to shared memory.
struct Copy {
  void* to;
  const void* from;
  int count;       // bytes that are there
  uint64_t group;  // of the thread's
};

/// A thread of a block.
class Lane : public LanePlace {
 public:
  enum class State : uint8_t { kReady, kMeets, kAtBarrier, kDone };
  State state = State::kReady;
  bool begun = false;
  uint8_t number = 0;  // in its warp
  uint8_t parity = 0;  // which of the warp's slots its next meeting uses
  Warp* warp = nullptr;
  Context context;
  std::unique_ptr<Stack> stack;  // while it is begun
  std::deque<Copy> copies;       // that it has not waited for
  uint64_t groups = 0;           // of copies, so far
};

class Warp {
 public:
  Lane* lanes = nullptr;  // its first
  uint8_t order[kLanes];
  unsigned at = 0;     // place in `order` of the lane that ran last
  unsigned ready = 0;  // lanes
  unsigned arrived = 0;
  Meeting meeting = Meeting::kShuffle;
  uint64_t slots[2][kLanes];  // a lane can be one meeting ahead of who still reads
};

/// Runs blocks, one after the other, on the calling thread of the host.
class Block {
 public:
  Block();
  ~Block();
  void Run(const Grid& grid, uint64_t number);

  // For the lane that runs.
  const uint64_t* Meet(Meeting kind, unsigned mask, uint64_t brought);
  void Barrier(const char* file, int line);
  void CopyAsync(void* to, const void* from, int count);
  void GroupCopies();
  void WaitForCopies(int left);
  void* DynamicShared();
  void* SharedBytes(const void* site, size_t bytes);
  [[noreturn]] void DieHere(const char* what) const;

 private:
  struct Array {
    const void* site;
    size_t at, bytes;
  };

  static void Entry();
  void BeginThreads();
  void Released(Warp& warp);
  Lane* Next();
  Warp* NextWarp();
  void BeginOnOwnStack(Lane& lane);
  void Yield(Lane& lane);
  void LiveOn();
  [[noreturn]] void Stuck() const;
  void ClearShared();
  void CheckShared() const;
  bool IsShared(const void* p, size_t bytes) const;
  void Guard(size_t at);

  const Grid* grid_ = nullptr;
  Random random_{0};
  std::vector<Lane> lanes_;
  std::vector<Warp> warps_;
  std::vector<unsigned> warp_order_;
  size_t warp_at_ = 0;  // place in warp_order_ of the warp that runs
  size_t live_ = 0, waiting_ = 0;
  const char* barrier_file_ = nullptr;
  int barrier_line_ = 0;
  Context host_;
  std::vector<std::unique_ptr<Stack>> free_stacks_;
  std::unique_ptr<Stack> left_stack_;  // of a lane that ended on it a moment ago

  std::unique_ptr<uint8_t[]> shared_memory_;
  uint8_t* shared_;  // 64-byte aligned
  size_t shared_used_ = 0, static_bytes_ = 0;
  std::vector<Array> arrays_;
};

}  // namespace cuda_emulator
