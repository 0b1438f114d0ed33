// Keys and values in the host's memory.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "kernels/host/memory.h"
#include "kernels/weights.h"

namespace bifrons::host {

/// A page is [layers][keys, values][kv_heads][page_positions][head_dim], 64-byte aligned.
class HostKvPages : public KvPages {
 public:
  explicit HostKvPages(const KvShape& shape);
  void Grow(int64_t pages) override;

  /// A page's first byte, as long as the pages exist.
  uint8_t* page(int32_t number) const;
  /// Where a layer's keys begin in a page; its values follow after half_bytes().
  size_t layer_offset(int64_t layer) const { return static_cast<size_t>(2 * layer) * half_bytes(); }
  size_t half_bytes() const { return page_bytes() / static_cast<size_t>(2 * shape().layers); }
  /// See Queue::CopyPositions.
  void CopyPositions(int32_t from, int64_t positions, int32_t to) const;
  /// See Queue::Discard.
  void Discard(int32_t number) const;

 protected:
  /// Memory of pages side by side, 64-byte aligned. Throws std::bad_alloc.
  virtual std::unique_ptr<HostBuffer> MakeSlab(size_t bytes);

 private:
  mutable std::mutex mutex_;  // pages are made while others are used
  std::vector<std::unique_ptr<HostBuffer>> slabs_;
};

/// A row of a ragged batch: where it stands in its sequence, and that one's pages.
struct KvRow {
  int64_t position;
  const uint8_t* const* pages;
};

class HostKvBatch final : public KvBatch {
 public:
  HostKvBatch(HostKvPages& pages, std::span<const KvSpan> spans);

  const std::vector<KvRow>& row_places() const { return places_; }
  const HostKvPages& host_pages() const { return static_cast<const HostKvPages&>(pages()); }
  /// The head_dim keys of a head at a row's place or any earlier position.
  uint8_t* Keys(const KvRow& row, int64_t layer, int64_t head, int64_t position) const;
  uint8_t* Values(const KvRow& row, int64_t layer, int64_t head, int64_t position) const {
    return Keys(row, layer, head, position) + host_pages().half_bytes();
  }

 private:
  std::vector<uint8_t*> pages_of_spans_;
  std::vector<KvRow> places_;
};

}  // namespace bifrons::host
