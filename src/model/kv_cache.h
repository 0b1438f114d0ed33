// One sequence's keys and values, all layers: a table of pages.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/ops.h"
#include "src/model/config.h"
#include "src/model/kv_pool.h"

namespace bifrons {

class KvCache {
 public:
  /// `capacity` positions at most, whose pages are taken from the pool as they are first written.
  KvCache(std::shared_ptr<KvPool> pool, int64_t capacity);
  /// The same with a pool of its own, f32 or bf16.
  KvCache(const LlamaConfig& config, DType dtype, int64_t capacity);
  ~KvCache();
  KvCache(KvCache&&) = default;
  KvCache& operator=(KvCache&& o) noexcept;

  /// Takes the pages of the first `positions` positions that are not there yet.
  void Reserve(int64_t positions);
  /// To be called before `rows` positions from `start` on are written: reserves them. They must not be
  /// shared.
  void PrepareWrite(int64_t start, int64_t rows);
  /// Makes the first `positions` of `from`, of the same pool, the beginning of this sequence, which is empty:
  /// whole pages are shared and from then on read only, of the last one the positions are copied.
  void SharePrefix(const KvCache& from, int64_t positions);

  /// What the pages that were taken hold of a layer; until the next page is.
  KvLayer layer(int64_t index) const { return pool_->Layer(index, pages_); }
  int64_t capacity() const { return capacity_; }
  int64_t pages() const { return static_cast<int64_t>(pages_.size()); }
  const std::shared_ptr<KvPool>& pool() const { return pool_; }

  /// Keys and values of so many positions: what a step over them reads. For memory see KvPool::BytesFor.
  static size_t Bytes(const LlamaConfig& config, DType dtype, int64_t positions);

 private:
  std::shared_ptr<KvPool> pool_;
  std::vector<uint8_t*> pages_;
  int64_t capacity_;
};

}  // namespace bifrons
