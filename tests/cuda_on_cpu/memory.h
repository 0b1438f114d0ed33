// The device's memory, and the host's that it can reach.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "tests/free_ranges.h"

namespace cuda_emulator {

/// Device memory that was taken once; `id` tells it from what stood at its place before.
struct Allocation {
  uint8_t* begin = nullptr;
  size_t bytes = 0;
  uint64_t id = 0;
  const void* pool_stream = nullptr;  // of cudaMallocAsync
  bool leaving = false;               // its end has been given to a stream
};

/// Address space for all device memory; nobody can read or write it outside kernels and copies. What was not
/// written is NaN (0xFF), and so is what was freed.
class Arena {
 public:
  Arena();
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// For the time of kernels and copies.
  void Open();
  void Close();

  /// Closes the memory but for what `work` touches, and gives the bytes of these pages. One at a time.
  template <class Work>
  uint64_t Touched(const Work& work) {
    BeginTouching();
    work();
    return EndTouching();
  }

  /// Null when `limit` bytes are taken. The least address that is free.
  Allocation* Take(size_t bytes, size_t limit);
  void GiveBack(const Allocation& allocation);
  /// NaN; it must be open.
  void Poison(const Allocation& allocation) const;

  bool Contains(const void* p) const { return p >= begin_ && p < begin_ + kBytes; }
  /// What a pointer points into; null for memory that is not taken.
  Allocation* Find(const void* p);
  /// Null when it was given back.
  Allocation* Find(uint64_t id);
  size_t taken() const { return taken_; }

 private:
  static constexpr size_t kBytes = size_t{64} << 30;

  void BeginTouching();
  uint64_t EndTouching();
  void ForgetTheEnd();

  uint8_t* begin_;
  size_t used_ = 0;   // bytes from the beginning to the end of the last that is taken
  size_t open_ = 0;   // and of these, open
  size_t taken_ = 0;  // bytes
  uint64_t last_id_ = 0;
  bifrons::FreeRanges free_{kBytes};
  std::map<const uint8_t*, Allocation> live_;  // by begin
};

/// Host memory that kernels may use, and that copies need no detour for.
class PinnedMemory {
 public:
  /// NaN; null when there is none.
  void* Take(size_t bytes);
  void Free(void* memory);
  void Register(void* memory, size_t bytes);
  void Unregister(void* memory);
  /// What a pointer points into, never 0; 0 for memory that is not pinned.
  uint64_t Find(const void* p) const;
  bool Has(uint64_t id) const;

 private:
  struct Range {
    size_t bytes;
    bool own;
    uint64_t id;
  };
  std::map<const uint8_t*, Range> ranges_;
  std::multimap<size_t, void*> freed_;  // by size, NaN; touching new pages takes longer than all else
  uint64_t last_id_ = 0;
};

/// Whether a kernel's argument would be memory of the host: some mapped page.
bool IsMapped(const void* p);

}  // namespace cuda_emulator
