// One sequence's keys and values, all layers: a table of pages.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "src/model/kv_pool.h"

namespace bifrons {

class KvCache {
 public:
  /// `capacity` positions at most, whose pages are taken from the pool as they are first written.
  KvCache(std::shared_ptr<KvPool> pool, int64_t capacity);
  ~KvCache();
  KvCache(KvCache&&) = default;
  KvCache& operator=(KvCache&& o) noexcept;

  /// Takes the pages of the first `positions` positions that are not there yet. Throws OutOfMemory and
  /// then has those that there was memory for.
  void Reserve(int64_t positions);
  /// To be called before `rows` positions from `start` on are written: reserves them. They must not be
  /// shared.
  void PrepareWrite(int64_t start, int64_t rows);
  /// Makes the first `positions` of `from`, of the same pool, the beginning of this sequence, which is empty:
  /// whole pages are shared and from then on read only, of the last one the positions are copied, by `queue`,
  /// which must be the one that all work on the pool's pages goes through.
  void SharePrefix(Queue& queue, const KvCache& from, int64_t positions);

  /// The pages that were taken, in order; until the next one is.
  std::span<const int32_t> pages() const { return pages_; }
  int64_t capacity() const { return capacity_; }
  const std::shared_ptr<KvPool>& pool() const { return pool_; }

 private:
  int64_t reserved_pages() const { return static_cast<int64_t>(pages_.size()); }

  std::shared_ptr<KvPool> pool_;
  std::vector<int32_t> pages_;
  int64_t capacity_;
};

}  // namespace bifrons
