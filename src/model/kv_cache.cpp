#include "src/model/kv_cache.h"

#include <utility>

namespace bifrons {

KvCache::KvCache(std::shared_ptr<KvPool> pool, int64_t capacity)
    : pool_(std::move(pool)), capacity_(capacity) {}

KvCache::~KvCache() {
  for (const int32_t page : pages_) pool_->Release(page);
}

KvCache& KvCache::operator=(KvCache&& o) noexcept {
  KvCache taken(std::move(o));
  std::swap(pool_, taken.pool_);
  std::swap(pages_, taken.pages_);
  std::swap(capacity_, taken.capacity_);
  return *this;
}

void KvCache::Reserve(int64_t positions) {
  BIFRONS_CHECK(positions <= capacity_, "%lld positions of %lld", static_cast<long long>(positions),
                static_cast<long long>(capacity_));
  pages_.reserve(static_cast<size_t>(KvPool::PagesFor(positions)));  // first: a page taken is a page kept
  while (reserved_pages() < KvPool::PagesFor(positions)) pages_.push_back(pool_->Take());
}

void KvCache::PrepareWrite(int64_t start, int64_t rows) {
  Reserve(start + rows);
  for (int64_t page = start / kPagePositions; page < KvPool::PagesFor(start + rows); page++) {
    BIFRONS_CHECK(pool_->holders(pages_[static_cast<size_t>(page)]) == 1,
                  "position %lld is in a page that sequences share", static_cast<long long>(start));
  }
}

void KvCache::SharePrefix(Queue& queue, const KvCache& from, int64_t positions) {
  BIFRONS_CHECK(pool_ == from.pool_ && pages_.empty());
  BIFRONS_CHECK(positions <= capacity_ && KvPool::PagesFor(positions) <= from.reserved_pages());
  const auto whole = static_cast<size_t>(positions / kPagePositions);
  pages_.reserve(static_cast<size_t>(KvPool::PagesFor(positions)));
  for (size_t i = 0; i < whole; i++) {
    pool_->Share(from.pages_[i]);
    pages_.push_back(from.pages_[i]);
  }
  if (const int64_t rest = positions % kPagePositions; rest > 0) {
    Reserve(positions);
    queue.CopyPositions(pool_->pages(), from.pages_[whole], rest, pages_[whole]);
  }
}

}  // namespace bifrons
