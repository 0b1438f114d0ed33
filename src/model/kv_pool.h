// Memory for keys and values in pages, which sequences take, share and give back.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "kernels/ops.h"
#include "src/model/config.h"

namespace bifrons {

/// Positions of a page, all layers'. Of the 600 positions of a picture half a page is unused on average: 3 %.
/// A head's keys of a page, 8 KB in bf16 with 128 values, are a stream worth starting; twice as many
/// positions measured no faster. A page of the 1B model, 6 MB, is whole huge pages.
constexpr int64_t kPagePositions = 32;
static_assert(kPagePositions % 32 == 0);  // pages side by side stay 64-byte aligned

/// Pages of [layers][keys, values][kv_heads][kPagePositions][head_dim]. Pages may be taken and given back
/// from several threads; what stands in them is their holders' business.
class KvPool {
 public:
  /// f32 or bf16. How many pages there may be is its users' business, who know used().
  KvPool(const LlamaConfig& config, DType dtype);
  KvPool(const KvPool&) = delete;

  static size_t PageBytes(const LlamaConfig& config, DType dtype);
  /// Pages that a sequence of so many positions takes.
  static constexpr int64_t PagesFor(int64_t positions) {
    return (positions + kPagePositions - 1) / kPagePositions;
  }
  /// Memory of a sequence of so many positions: whole pages.
  static size_t BytesFor(const LlamaConfig& config, DType dtype, int64_t positions) {
    return static_cast<size_t>(PagesFor(positions)) * PageBytes(config, dtype);
  }

  /// A page for one holder, 64-byte aligned; its content is arbitrary. Throws OutOfMemory and then has
  /// changed nothing.
  uint8_t* Take();
  /// One holder more.
  void Share(uint8_t* page);
  /// One holder less; after the last one the page is free for the next Take.
  void Release(uint8_t* page);

  int64_t holders(const uint8_t* page) const;
  /// Pages that are held, each counted once, and pages there is memory for: the most that were ever held.
  int64_t used() const;
  int64_t allocated() const;
  size_t page_bytes() const { return page_bytes_; }

  /// A layer of a sequence that stands in `pages`.
  KvLayer Layer(int64_t index, std::span<uint8_t* const> pages) const;
  /// Copies the first `positions` positions of a page.
  void CopyPositions(const uint8_t* from, int64_t positions, uint8_t* to) const;

 private:
  const int64_t layers_, kv_heads_, head_dim_;
  const DType dtype_;
  const size_t page_bytes_;

  struct Free {
    void operator()(uint8_t* p) const { std::free(p); }
  };
  using Memory = std::unique_ptr<uint8_t, Free>;
  static Memory Allocate(size_t bytes);

  mutable std::mutex mutex_;
  std::vector<Memory> slabs_;  // pages side by side
  int64_t allocated_ = 0;
  std::unordered_map<const uint8_t*, int64_t> holders_;  // of the pages that are held
  std::vector<uint8_t*> free_;
};

}  // namespace bifrons
