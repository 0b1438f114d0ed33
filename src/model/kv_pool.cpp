#include "src/model/kv_pool.h"

namespace bifrons {

int32_t KvPool::Take() {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) {
    const auto page = static_cast<int32_t>(holders_.size());
    // With room in free_ for all pages, giving back never lacks memory.
    free_.reserve(holders_.size() + 1);
    holders_.reserve(holders_.size() + 1);
    pages_->Grow(page + 1);
    holders_.push_back(0);
    free_.push_back(page);
  }
  const int32_t page = free_.back();
  free_.pop_back();
  holders_[static_cast<size_t>(page)] = 1;
  return page;
}

void KvPool::Share(int32_t page) {
  const std::lock_guard lock(mutex_);
  int64_t& held = holders_[static_cast<size_t>(page)];
  BIFRONS_CHECK(held > 0, "page %d, which nobody holds", page);
  held++;
}

void KvPool::Release(int32_t page) {
  const std::lock_guard lock(mutex_);
  int64_t& held = holders_[static_cast<size_t>(page)];
  BIFRONS_CHECK(held > 0, "page %d, which nobody holds", page);
  if (--held == 0) free_.push_back(page);
}

void KvPool::DiscardFree(Queue& queue) {
  const std::lock_guard lock(mutex_);
  queue.Discard(*pages_, free_);
}

int64_t KvPool::holders(int32_t page) const {
  const std::lock_guard lock(mutex_);
  return holders_[static_cast<size_t>(page)];
}

int64_t KvPool::used() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(holders_.size() - free_.size());
}

int64_t KvPool::allocated() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(holders_.size());
}

}  // namespace bifrons
