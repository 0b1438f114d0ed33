#include "tests/cuda_on_cpu/block.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

constinit thread_local uint3 blockIdx = {0, 0, 0};
constinit thread_local dim3 blockDim, gridDim;

namespace cuda_emulator {

constinit thread_local const LanePlace* here = nullptr;

namespace {

constexpr size_t kGuard = 64;  // bytes before and behind every shared array
constexpr size_t kSharedRoom = kMostSharedAnywhere + (256 << 10);

constinit thread_local Block* running = nullptr;

Lane& Me() {
  if (here == nullptr) Die("a word of kernels outside a kernel");
  return const_cast<Lane&>(static_cast<const Lane&>(*here));
}

// A NaN as f32 and as bf16 that nobody computes.
uint8_t GuardByte(size_t i) { return i % 2 == 0 ? 0xA5 : 0xFF; }

}  // namespace

const uint64_t* Meet(Meeting kind, unsigned mask, uint64_t brought) {
  Me();
  return running->Meet(kind, mask, brought);
}
int LaneNumber() { return Me().number; }
void Barrier(const char* file, int line) {
  Me();
  running->Barrier(file, line);
}

namespace {

// The rows' addresses of all lanes.
const uint64_t* MeetWithRows(Meeting kind, const void* row) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) Die("a matrix's row at no multiple of 16 bytes");
  return Meet(kind, 0xFFFFFFFFu, reinterpret_cast<uintptr_t>(row));
}

}  // namespace

uint4 LoadMatrices(const void* row) {
  const uint64_t* rows = MeetWithRows(Meeting::kLoadMatrices, row);
  const int lane = LaneNumber();
  unsigned words[4];
  for (int matrix = 0; matrix < 4; matrix++) {
    const auto* from = reinterpret_cast<const uint8_t*>(rows[8 * matrix + lane / 4]);
    std::memcpy(&words[matrix], from + lane % 4 * 4, sizeof(unsigned));
  }
  return {words[0], words[1], words[2], words[3]};
}
uint4 LoadMatricesTransposed(const void* row) {
  const uint64_t* rows = MeetWithRows(Meeting::kLoadTransposed, row);
  const int lane = LaneNumber();
  uint16_t numbers[8];
  for (int i = 0; i < 8; i++) {
    const auto* from = reinterpret_cast<const uint16_t*>(rows[i / 2 * 8 + lane % 4 * 2 + i % 2]);
    numbers[i] = from[lane / 4];
  }
  uint4 v;
  std::memcpy(&v, numbers, sizeof v);
  return v;
}
void CopyAsync(void* to, const void* from, int count) {
  Me();
  running->CopyAsync(to, from, count);
}
void GroupCopies() {
  Me();
  running->GroupCopies();
}
void WaitForCopies(int left) {
  Me();
  running->WaitForCopies(left);
}
void* DynamicShared() {
  Me();
  return running->DynamicShared();
}
void* SharedBytes(const void* site, size_t bytes) {
  Me();
  return running->SharedBytes(site, bytes);
}

Block::Block() : shared_memory_(new uint8_t[kSharedRoom + 64]) {
  const auto begin = reinterpret_cast<uintptr_t>(shared_memory_.get());
  shared_ = shared_memory_.get() + (64 - begin % 64) % 64;
}

Block::~Block() { ASAN_UNPOISON_MEMORY_REGION(shared_, kSharedRoom); }

void Block::Run(const Grid& grid, uint64_t number) {
  grid_ = &grid;
  blockDim = grid.threads;
  gridDim = grid.blocks;
  blockIdx = {static_cast<unsigned>(number % grid.blocks.x),
              static_cast<unsigned>(number / grid.blocks.x % grid.blocks.y),
              static_cast<unsigned>(number / grid.blocks.x / grid.blocks.y)};
  random_ = Random(grid.seed + number * 0x632BE59BD9B4E019u);
  BeginThreads();
  ClearShared();
  running = this;
  host_ = ThisThread();
  Lane* first = Next();
  BeginOnOwnStack(*first);
  here = first;
  Switch(host_, first->context);
  free_stacks_.push_back(std::move(left_stack_));
  here = nullptr;
  running = nullptr;
  CheckShared();
}

void Block::BeginThreads() {
  const dim3 threads = grid_->threads;
  const size_t count = size_t{threads.x} * threads.y * threads.z, warps = count / kLanes;
  if (lanes_.size() != count) {
    lanes_ = std::vector<Lane>(count);
    warps_ = std::vector<Warp>(warps);
    warp_order_.resize(warps);
  }
  live_ = count;
  waiting_ = 0;
  warp_at_ = 0;
  for (size_t i = 0; i < count; i++) {
    Lane& lane = lanes_[i];
    lane.thread = {static_cast<unsigned>(i % threads.x), static_cast<unsigned>(i / threads.x % threads.y),
                   static_cast<unsigned>(i / threads.x / threads.y)};
    lane.state = Lane::State::kReady;
    lane.begun = false;
    lane.number = i % kLanes;
    lane.parity = 0;
    lane.copies.clear();
    lane.groups = 0;
    lane.warp = &warps_[i / kLanes];
  }
  std::iota(warp_order_.begin(), warp_order_.end(), 0);
  if (grid_->order == Order::kReverse) std::reverse(warp_order_.begin(), warp_order_.end());
  for (size_t w = 0; w < warps; w++) {
    Warp& warp = warps_[w];
    warp.lanes = &lanes_[w * kLanes];
    warp.arrived = 0;
    std::iota(warp.order, warp.order + kLanes, uint8_t{0});
    if (grid_->order == Order::kReverse) std::reverse(warp.order, warp.order + kLanes);
    Released(warp);
  }
}

bool IsRandom(Order order) { return order == Order::kRandom || order == Order::kOtherRandom; }

// All lanes go on, in another order where that is random.
void Block::Released(Warp& warp) {
  warp.ready = kLanes;
  warp.at = kLanes - 1;
  if (!IsRandom(grid_->order)) return;
  for (unsigned i = 0; i + 1 < kLanes; i++)
    std::swap(warp.order[i], warp.order[i + random_.Below(kLanes - i)]);
}

Warp* Block::NextWarp() {
  if (Warp& same = warps_[warp_order_[warp_at_]]; same.ready > 0) return &same;
  for (size_t k = 1; k < warp_order_.size(); k++) {
    if (++warp_at_ == warp_order_.size()) warp_at_ = 0;
    if (Warp& warp = warps_[warp_order_[warp_at_]]; warp.ready > 0) return &warp;
  }
  return nullptr;
}

// The lane that runs next; none when all are done.
Lane* Block::Next() {
  for (;;) {
    if (Warp* warp = NextWarp()) {
      for (;;) {
        warp->at = (warp->at + 1) % kLanes;
        Lane& lane = warp->lanes[warp->order[warp->at]];
        if (lane.state == Lane::State::kReady) return &lane;
      }
    }
    if (live_ == 0) return nullptr;
    if (waiting_ != lanes_.size()) Stuck();
    waiting_ = 0;
    for (Lane& lane : lanes_) lane.state = Lane::State::kReady;
    for (Warp& warp : warps_) Released(warp);
    warp_at_ = 0;
    if (!IsRandom(grid_->order)) continue;
    for (size_t i = 0; i + 1 < warp_order_.size(); i++) {
      std::swap(warp_order_[i],
                warp_order_[i + random_.Below(static_cast<unsigned>(warp_order_.size() - i))]);
    }
  }
}

void Block::BeginOnOwnStack(Lane& lane) {
  if (free_stacks_.empty()) free_stacks_.push_back(std::make_unique<Stack>());
  lane.stack = std::move(free_stacks_.back());
  free_stacks_.pop_back();
  lane.context = lane.stack->Begin(Entry);
  lane.begun = true;
}

// Runs others until the lane, which is not ready, is again.
void Block::Yield(Lane& lane) {
  Lane* next = Next();
  if (next == &lane) return;
  here = next;
  if (!next->begun) BeginOnOwnStack(*next);
  Switch(lane.context, next->context);
  if (left_stack_ != nullptr) free_stacks_.push_back(std::move(left_stack_));
}

void Block::Entry() {
  Entered();
  running->LiveOn();
}

// The lives of the lane that began here and of those that begin after it, on one stack: a kernel whose
// threads never wait needs no switch.
void Block::LiveOn() {
  if (left_stack_ != nullptr) free_stacks_.push_back(std::move(left_stack_));
  for (;;) {
    grid_->thread();
    Lane& done = Me();
    done.state = Lane::State::kDone;
    done.warp->ready--;
    live_--;
    Lane* next = Next();
    here = next;
    if (next != nullptr && !next->begun) {
      next->begun = true;
      next->stack = std::move(done.stack);
      next->context = done.context;
      continue;
    }
    left_stack_ = std::move(done.stack);
    SwitchForever(next == nullptr ? host_ : next->context);
  }
}

const uint64_t* Block::Meet(Meeting kind, unsigned mask, uint64_t brought) {
  Lane& lane = Me();
  Warp& warp = *lane.warp;
  if (mask != 0xFFFFFFFFu) DieHere("not all lanes are in a mask");
  if (warp.arrived > 0 && warp.meeting != kind) DieHere("lanes of a warp meet at different words");
  uint64_t* slots = warp.slots[lane.parity];
  lane.parity ^= 1;
  slots[lane.number] = brought;
  warp.meeting = kind;
  lane.state = Lane::State::kMeets;
  warp.ready--;
  if (++warp.arrived == kLanes) {
    warp.arrived = 0;
    if (kind == Meeting::kMultiplyTile) MultiplyTile(slots);
    for (unsigned i = 0; i < kLanes; i++) warp.lanes[i].state = Lane::State::kReady;
    Released(warp);
    // Warps drift apart between barriers.
    if (IsRandom(grid_->order) && random_.Below(4) == 0)
      warp_at_ = random_.Below(static_cast<unsigned>(warps_.size()));
  }
  Yield(lane);
  return slots;
}

void Block::Barrier(const char* file, int line) {
  Lane& lane = Me();
  if (waiting_ > 0 && (line != barrier_line_ || std::strcmp(file, barrier_file_) != 0)) {
    std::fprintf(stderr, "cuda emulator: threads of a block wait at %s:%d and at %s:%d\n", barrier_file_,
                 barrier_line_, file, line);
    DieHere("a barrier in two places");
  }
  barrier_file_ = file;
  barrier_line_ = line;
  waiting_++;
  lane.state = Lane::State::kAtBarrier;
  lane.warp->ready--;
  Yield(lane);
}

// ---- copies beside the work
// ---------------------------------------------------------------------------------

void Block::CopyAsync(void* to, const void* from, int count) {
  if (reinterpret_cast<uintptr_t>(to) % 16 != 0 || reinterpret_cast<uintptr_t>(from) % 16 != 0)
    DieHere("a copy of 16 bytes at no multiple of them");
  if (!IsShared(to, 16)) DieHere("a copy to what is not shared memory");
  Lane& lane = Me();
  lane.copies.push_back({to, from, count, lane.groups});
}

void Block::GroupCopies() { Me().groups++; }

void Block::WaitForCopies(int left) {
  Lane& lane = Me();
  while (!lane.copies.empty() && lane.copies.front().group + static_cast<uint64_t>(left) < lane.groups) {
    const Copy copy = lane.copies.front();
    lane.copies.pop_front();
    uint8_t bytes[16] = {};
    std::memcpy(bytes, copy.from, static_cast<size_t>(copy.count));
    std::memcpy(copy.to, bytes, sizeof bytes);
  }
}

// ---- shared memory -------------------------------------------------------------------------------------

// Before the first thread: what the last block had is NaN again.
void Block::ClearShared() {
  const size_t dynamic = (grid_->dynamic_bytes + 15) / 16 * 16;
  ASAN_UNPOISON_MEMORY_REGION(shared_, kSharedRoom);
  std::memset(shared_, 0xFF, std::max(shared_used_, dynamic + 2 * kGuard));
  arrays_.clear();
  static_bytes_ = 0;
  Guard(0);
  Guard(kGuard + dynamic);
  // Not all of the last 16 bytes need be the kernel's.
  for (size_t i = grid_->dynamic_bytes; i < dynamic; i++) shared_[kGuard + i] = GuardByte(i);
  shared_used_ = dynamic + 2 * kGuard;
  ASAN_POISON_MEMORY_REGION(shared_, kSharedRoom);
  ASAN_UNPOISON_MEMORY_REGION(shared_ + kGuard, grid_->dynamic_bytes);
}

void Block::Guard(size_t at) {
  for (size_t i = 0; i < kGuard; i++) shared_[at + i] = GuardByte(i);
}

void* Block::DynamicShared() { return shared_ + kGuard; }

void* Block::SharedBytes(const void* site, size_t bytes) {
  for (const Array& array : arrays_) {
    if (array.site == site) return shared_ + array.at;
  }
  static_bytes_ += (bytes + 15) / 16 * 16;
  if (static_bytes_ > kMostShared || static_bytes_ + grid_->dynamic_bytes > grid_->most_shared)
    DieHere("more shared memory than a block has");
  const size_t at = shared_used_, room = (bytes + 15) / 16 * 16;
  arrays_.push_back({site, at, bytes});
  shared_used_ += room + kGuard;
  ASAN_UNPOISON_MEMORY_REGION(shared_ + at, room + kGuard);
  std::memset(shared_ + at, 0xFF, bytes);
  for (size_t i = bytes; i < room; i++) shared_[at + i] = GuardByte(i);
  Guard(at + room);
  ASAN_POISON_MEMORY_REGION(shared_ + at, room + kGuard);
  ASAN_UNPOISON_MEMORY_REGION(shared_ + at, bytes);
  return shared_ + at;
}

bool Block::IsShared(const void* p, size_t bytes) const {
  const auto* at = static_cast<const uint8_t*>(p);
  return at >= shared_ && at + bytes <= shared_ + shared_used_;
}

// After the last thread: nobody wrote beyond an array.
void Block::CheckShared() const {
  ASAN_UNPOISON_MEMORY_REGION(shared_, kSharedRoom);
  const auto intact = [&](size_t at, size_t bytes, size_t first) {
    for (size_t i = 0; i < bytes; i++) {
      if (shared_[at + i] != GuardByte(first + i)) DieHere("a write beyond shared memory");
    }
  };
  const auto check = [&](size_t at, size_t bytes) {
    const size_t room = (bytes + 15) / 16 * 16;
    intact(at + bytes, room - bytes, bytes);
    intact(at + room, kGuard, 0);
  };
  intact(0, kGuard, 0);
  check(kGuard, grid_->dynamic_bytes);
  for (const Array& array : arrays_) check(array.at, array.bytes);
}

// ---- how it ends where it must not go on --------------------------------------------------------------

void Block::DieHere(const char* what) const {
  const unsigned thread =
      here == nullptr ? 0 : static_cast<unsigned>(static_cast<const Lane*>(here) - lanes_.data());
  Die("%s: kernel %s, block (%u, %u, %u), thread %u", what, grid_->kernel, blockIdx.x, blockIdx.y, blockIdx.z,
      thread);
}

void Block::Stuck() const {
  size_t done = 0, meets = 0;
  for (const Lane& lane : lanes_) {
    done += lane.state == Lane::State::kDone;
    meets += lane.state == Lane::State::kMeets;
  }
  if (meets > 0) {
    std::fprintf(stderr,
                 "cuda emulator: %zu threads wait for their warp at a shuffle or ballot, %zu of all %zu at "
                 "__syncthreads, %zu are done\n",
                 meets, waiting_, lanes_.size(), done);
    DieHere("lanes of a warp part before a shuffle or ballot");
  }
  std::fprintf(stderr, "cuda emulator: of %zu threads %zu wait at %s:%d, %zu are done\n", lanes_.size(),
               waiting_, barrier_file_, barrier_line_, done);
  DieHere("a thread returned before a barrier");
}

}  // namespace cuda_emulator
