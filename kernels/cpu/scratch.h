// Memory that ops work in, kept from one to the next.
#pragma once

#include <cstdlib>
#include <memory>
#include <vector>

#include "src/base/out_of_memory.h"

namespace bifrons::cpu {

/// A block for each use and part of a queue's sections (thread_pool.h), 64-byte aligned, grown to the largest
/// asked for. A part asks for its own blocks, so nobody waits.
class Scratch {
 public:
  enum Use {
    kActivations,  // packed, and as panels: of all parts
    kInner,        // products that an epilogue reads again: of all parts
    kOperands,     // keys and values of an attention, rearranged: of all parts
    kProducts,
    kLibrary,  // what oneDNN asks for
    kQuery,
    kWeights,
    kMixed,
    kUses
  };
  explicit Scratch(int parts) : blocks_(static_cast<size_t>(parts * kUses)) {}

  /// n elements of arbitrary content; until this use and part ask again.
  template <class T>
  T* Get(Use use, int64_t n, int part = 0) {
    Block& block = blocks_[static_cast<size_t>(part * kUses + use)];
    const size_t bytes = (static_cast<size_t>(n) * sizeof(T) + 63) / 64 * 64;
    if (block.bytes < bytes) {
      block = {};  // first, so that both never take memory at once
      block.memory.reset(std::aligned_alloc(64, bytes));
      if (!block.memory) throw OutOfMemory(bytes, "an operation's buffers");
      block.bytes = bytes;
    }
    return static_cast<T*>(block.memory.get());
  }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  struct alignas(64) Block {  // no two parts share a line of them
    std::unique_ptr<void, Free> memory;
    size_t bytes = 0;
  };
  std::vector<Block> blocks_;
};

}  // namespace bifrons::cpu
