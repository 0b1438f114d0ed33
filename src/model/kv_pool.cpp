#include "src/model/kv_pool.h"

#include <sys/mman.h>

#include <cstring>

#include "src/base/out_of_memory.h"

namespace bifrons {
namespace {

// Address space is taken for so many pages at once, since aligning it takes up to a huge page more; memory is
// taken by the system as pages are written.
constexpr size_t kSlabPages = 8;

}  // namespace

KvPool::KvPool(const LlamaConfig& config, DType dtype)
    : layers_(config.layers),
      kv_heads_(config.kv_heads),
      head_dim_(config.head_dim),
      dtype_(dtype),
      page_bytes_(PageBytes(config, dtype)) {}

size_t KvPool::PageBytes(const LlamaConfig& config, DType dtype) {
  return static_cast<size_t>(config.layers * 2 * config.kv_heads * kPagePositions * config.head_dim) *
         SizeOf(dtype);
}

// On huge pages where there is room for them: attention walks through all of a sequence's pages in every
// layer.
KvPool::Memory KvPool::Allocate(size_t bytes) {
  constexpr size_t kHugePage = size_t{2} << 20;
  const size_t unit = bytes >= kHugePage ? kHugePage : 64;
  const size_t size = (bytes + 63) / 64 * 64;
  void* memory = nullptr;
  if (posix_memalign(&memory, unit, size) != 0) throw OutOfMemory(size, "keys and values");
  if (unit == kHugePage) madvise(memory, size, MADV_HUGEPAGE);  // a wish: without it only slower
  return Memory(static_cast<uint8_t*>(memory));
}

uint8_t* KvPool::Take() {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) {
    const size_t in_slab = static_cast<size_t>(allocated_) % kSlabPages;
    if (in_slab == 0) {
      free_.reserve(static_cast<size_t>(allocated_) + kSlabPages);  // so that giving back never lacks memory
      slabs_.push_back(Allocate(kSlabPages * page_bytes_));
    }
    free_.push_back(slabs_.back().get() + in_slab * page_bytes_);
    allocated_++;
  }
  // Counted last: until then everything may throw, and the page is still free.
  uint8_t* page = free_.back();
  holders_.emplace(page, 1);
  free_.pop_back();
  return page;
}

void KvPool::Share(uint8_t* page) {
  const std::lock_guard lock(mutex_);
  const auto held = holders_.find(page);
  BIFRONS_CHECK(held != holders_.end(), "a page that nobody holds");
  held->second++;
}

void KvPool::Release(uint8_t* page) {
  const std::lock_guard lock(mutex_);
  const auto held = holders_.find(page);
  BIFRONS_CHECK(held != holders_.end(), "a page that nobody holds");
  if (--held->second > 0) return;
  holders_.erase(held);
  free_.push_back(page);
}

int64_t KvPool::holders(const uint8_t* page) const {
  const std::lock_guard lock(mutex_);
  const auto held = holders_.find(page);
  return held == holders_.end() ? 0 : held->second;
}

int64_t KvPool::used() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(holders_.size());
}

int64_t KvPool::allocated() const {
  const std::lock_guard lock(mutex_);
  return allocated_;
}

KvLayer KvPool::Layer(int64_t index, std::span<uint8_t* const> pages) const {
  const size_t half = page_bytes_ / static_cast<size_t>(2 * layers_);
  const size_t keys = static_cast<size_t>(2 * index) * half;
  return {
      .pages = pages, .page_positions = kPagePositions, .keys = keys, .values = keys + half, .dtype = dtype_};
}

void KvPool::CopyPositions(const uint8_t* from, int64_t positions, uint8_t* to) const {
  const size_t row = static_cast<size_t>(head_dim_) * SizeOf(dtype_);
  const size_t head = static_cast<size_t>(kPagePositions) * row;
  for (size_t at = 0; at < page_bytes_; at += head) {
    std::memcpy(to + at, from + at, static_cast<size_t>(positions) * row);
  }
}

}  // namespace bifrons
