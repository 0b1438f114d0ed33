// Memory for keys and values in pages, which sequences take, share and give back.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels/device.h"
#include "src/model/config.h"

namespace bifrons {

/// Positions of a page, all layers'. Of the 600 positions of a picture half a page is unused on average: 3 %.
/// A head's keys of a page, 8 KB in bf16 with 128 values, are a stream worth starting; twice as many
/// positions measured no faster. A page of the 1B model, 6 MB, is whole huge pages.
constexpr int64_t kPagePositions = 32;

/// What a model caches of a position.
inline KvShape KvShapeOf(const LlamaConfig& config, DType type) {
  return {.layers = config.layers,
          .kv_heads = config.kv_heads,
          .head_dim = config.head_dim,
          .page_positions = kPagePositions,
          .type = type};
}

/// Who holds which pages of a device. Pages may be taken and given back from several threads; what stands in
/// them is their holders' business. A page that is given back may be taken again at once, while work on it is
/// still to be done: that is right because all work on a pool's pages goes through one queue, in order.
class KvPool {
 public:
  /// How many pages there may be is its users' business, who know used().
  KvPool(Device& device, const KvShape& shape) : pages_(device.MakeKvPages(shape)) {}
  KvPool(const KvPool&) = delete;

  /// Pages that a sequence of so many positions takes.
  static constexpr int64_t PagesFor(int64_t positions) {
    return (positions + kPagePositions - 1) / kPagePositions;
  }
  /// Memory of a sequence of so many positions: whole pages.
  static size_t BytesFor(const LlamaConfig& config, DType type, int64_t positions) {
    return KvShapeOf(config, type).Bytes(PagesFor(positions) * kPagePositions);
  }

  /// A page for one holder; its content is arbitrary. Throws OutOfMemory and then has changed nothing.
  int32_t Take();
  /// One holder more.
  void Share(int32_t page);
  /// One holder less; after the last one the page is free for the next Take.
  void Release(int32_t page);

  /// Gives the memory of free pages back where the device can (Queue::Discard); `queue` is the one that all
  /// work on the pages goes through. They are taken again as ever.
  void DiscardFree(Queue& queue);

  int64_t holders(int32_t page) const;
  /// Pages that are held, each counted once, and pages there is memory for: the most that were ever held.
  int64_t used() const;
  int64_t allocated() const;
  size_t page_bytes() const { return pages_->page_bytes(); }

  /// The memory itself, by page.
  KvPages& pages() const { return *pages_; }

 private:
  const std::unique_ptr<KvPages> pages_;

  mutable std::mutex mutex_;
  std::vector<int64_t> holders_;  // of every page there is; 0: it is free
  std::vector<int32_t> free_;
};

}  // namespace bifrons
