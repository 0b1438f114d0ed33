#include "tests/cuda_on_cpu/memory.h"

#include <cuda_runtime.h>
#include <sys/mman.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <utility>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

namespace cuda_emulator {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kAlignment = 256;  // of cudaMalloc
constexpr size_t kGuard = 256;      // bytes behind every allocation
constexpr uint8_t kNan = 0xFF;

// Not even a multiple of the alignment is the kernel's: the rest and the guard are NaN that nobody computes.
uint8_t GuardByte(size_t i) { return i % 2 == 0 ? 0xA5 : 0xFF; }

size_t Rounded(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment + kGuard; }

// The pages that are closed but for who touches them, for the signal's handler.
uint8_t* touching_begin = nullptr;
size_t touching_bytes = 0;
std::unique_ptr<std::atomic<bool>[]> touched;  // of every page
std::atomic<uint64_t> touched_pages{0};
struct sigaction handled_before;

void OpenTouched(int signal, siginfo_t* info, void*) {
  auto* at = static_cast<uint8_t*>(info->si_addr);
  if (at < touching_begin || at >= touching_begin + touching_bytes) {
    sigaction(signal, &handled_before, nullptr);  // which the access meets next
    return;
  }
  const size_t page = static_cast<size_t>(at - touching_begin) / kPage;
  mprotect(touching_begin + page * kPage, kPage, PROT_READ | PROT_WRITE);
  if (!touched[page].exchange(true)) touched_pages++;  // two threads may meet it at once
}

}  // namespace

Arena::Arena() {
  void* p = mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) Die("no address space for the device's memory");
  begin_ = static_cast<uint8_t*>(p);
}

Arena::~Arena() {
  ASAN_UNPOISON_MEMORY_REGION(begin_, used_);
  munmap(begin_, kBytes);
}

void Arena::Open() {
  const size_t used = (used_ + kPage - 1) / kPage * kPage;
  if (open_ == used) return;
  if (mprotect(begin_ + open_, used - open_, PROT_READ | PROT_WRITE) != 0)
    Die("the device's memory cannot be opened");
  open_ = used;
}

void Arena::Close() {
  if (open_ == 0) return;
  if (mprotect(begin_, open_, PROT_NONE) != 0) Die("the device's memory cannot be closed");
  open_ = 0;
}

void Arena::BeginTouching() {
  Close();
  touching_begin = begin_, touching_bytes = (used_ + kPage - 1) / kPage * kPage;
  touched = std::make_unique<std::atomic<bool>[]>(touching_bytes / kPage);
  touched_pages = 0;
  struct sigaction action = {};
  action.sa_sigaction = OpenTouched;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &action, &handled_before);
}

uint64_t Arena::EndTouching() {
  sigaction(SIGSEGV, &handled_before, nullptr);
  open_ = std::exchange(touching_bytes, 0);  // some of it
  Close();
  return touched_pages * kPage;
}

Allocation* Arena::Take(size_t bytes, size_t limit) {
  if (bytes > limit || taken_ > limit - bytes) return nullptr;
  const size_t size = Rounded(bytes);
  const auto at = free_.Take(size);
  if (!at) return nullptr;
  uint8_t* const begin = begin_ + *at;
  used_ = std::max(used_, *at + size);
  taken_ += bytes;
  Allocation& taken = live_[begin];
  taken = {begin, bytes, ++last_id_, nullptr, false};
  Open();
  ASAN_UNPOISON_MEMORY_REGION(begin, size);
  Poison(taken);
  for (size_t i = bytes; i < size; i++) begin[i] = GuardByte(i);
  ASAN_POISON_MEMORY_REGION(begin + bytes, size - bytes);
  return &taken;
}

void Arena::Poison(const Allocation& allocation) const {
  std::memset(allocation.begin, kNan, allocation.bytes);
}

void Arena::GiveBack(const Allocation& allocation) {
  const size_t at = static_cast<size_t>(allocation.begin - begin_), bytes = allocation.bytes;
  const size_t size = Rounded(bytes);
  Open();
  ASAN_UNPOISON_MEMORY_REGION(begin_ + at, size);
  for (size_t i = bytes; i < size; i++) {
    if (begin_[at + i] != GuardByte(i)) Die("a write beyond device memory of %zu bytes", bytes);
  }
  std::memset(begin_ + at, kNan, size);
  ASAN_POISON_MEMORY_REGION(begin_ + at, size);
  taken_ -= bytes;
  live_.erase(begin_ + at);
  free_.GiveBack(at, size);
  ForgetTheEnd();
}

// Opening and closing take as long as there is memory: what lies behind all that is taken is closed once.
void Arena::ForgetTheEnd() {
  const size_t used = used_, open = open_;
  used_ = live_.empty()
              ? 0
              : static_cast<size_t>(live_.rbegin()->first - begin_) + Rounded(live_.rbegin()->second.bytes);
  ASAN_UNPOISON_MEMORY_REGION(begin_ + used_, used - used_);
  open_ = std::min(open, (used_ + kPage - 1) / kPage * kPage);
  if (open_ < open && mprotect(begin_ + open_, open - open_, PROT_NONE) != 0)
    Die("the device's memory cannot be closed");
}

Allocation* Arena::Find(const void* p) {
  const auto* byte = static_cast<const uint8_t*>(p);
  auto it = live_.upper_bound(byte);
  if (it == live_.begin()) return nullptr;
  Allocation& before = std::prev(it)->second;
  return byte <= before.begin + before.bytes ? &before : nullptr;
}

Allocation* Arena::Find(uint64_t id) {
  for (auto& [begin, allocation] : live_) {
    if (allocation.id == id) return &allocation;
  }
  return nullptr;
}

void* PinnedMemory::Take(size_t bytes) {
  void* memory = nullptr;
  if (const auto freed = freed_.find(bytes); freed != freed_.end()) {
    memory = freed->second;
    freed_.erase(freed);
  } else {
    memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    std::memset(memory, kNan, bytes);
  }
  ranges_[static_cast<uint8_t*>(memory)] = {bytes, true, ++last_id_};
  return memory;
}

void PinnedMemory::Free(void* memory) {
  const auto it = ranges_.find(static_cast<uint8_t*>(memory));
  if (it == ranges_.end() || !it->second.own)
    Die("cudaFreeHost of memory that was not taken by cudaMallocHost");
  std::memset(memory, kNan, it->second.bytes);
  freed_.emplace(it->second.bytes, memory);
  ranges_.erase(it);
}

void PinnedMemory::Register(void* memory, size_t bytes) {
  if (bytes == 0 || Find(memory) != 0) Die("cudaHostRegister of nothing or of registered memory");
  ranges_[static_cast<uint8_t*>(memory)] = {bytes, false, ++last_id_};
}

void PinnedMemory::Unregister(void* memory) {
  const auto it = ranges_.find(static_cast<uint8_t*>(memory));
  if (it == ranges_.end() || it->second.own) Die("cudaHostUnregister of memory that was not registered");
  ranges_.erase(it);
}

uint64_t PinnedMemory::Find(const void* p) const {
  const auto* byte = static_cast<const uint8_t*>(p);
  const auto it = ranges_.upper_bound(byte);
  if (it == ranges_.begin()) return 0;
  const auto& [begin, range] = *std::prev(it);
  return byte < begin + range.bytes ? range.id : 0;
}

bool PinnedMemory::Has(uint64_t id) const {
  return std::any_of(ranges_.begin(), ranges_.end(),
                     [id](const auto& range) { return range.second.id == id; });
}

bool IsMapped(const void* p) {
#if defined(__SANITIZE_ADDRESS__) && defined(__x86_64__)
  // Two small numbers side by side look like a place in the sanitizer's shadow, where no pointer leads.
  const auto address = reinterpret_cast<uintptr_t>(p);
  if (address >= 0x7FFF8000 && address < 0x10007FFF8000) return false;
#endif
  const auto page = reinterpret_cast<uintptr_t>(p) / kPage * kPage;
  if (page < (uintptr_t{1} << 16)) return false;
  unsigned char resident = 0;
  return mincore(reinterpret_cast<void*>(page), 1, &resident) == 0;
}

}  // namespace cuda_emulator
