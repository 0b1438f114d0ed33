#include "kernels/host/kv_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "src/base/check.h"
#include "src/base/out_of_memory.h"

namespace bifrons::host {
namespace {

// Address space is taken for so many pages at once, since aligning it takes up to a huge page more; memory is
// taken by the system as pages are written.
constexpr int64_t kSlabPages = 8;

// On huge pages where there is room for them: attention walks through all of a sequence's pages in every
// layer.
uint8_t* AllocateSlab(size_t bytes) {
  constexpr size_t kHugePage = size_t{2} << 20;
  const size_t unit = bytes >= kHugePage ? kHugePage : 64;
  const size_t size = (bytes + 63) / 64 * 64;
  void* memory = nullptr;
  if (posix_memalign(&memory, unit, size) != 0) throw OutOfMemory(size, "keys and values");
  if (unit == kHugePage) madvise(memory, size, MADV_HUGEPAGE);  // a wish: without it only slower
  return static_cast<uint8_t*>(memory);
}

struct Slab : HostBuffer {
  explicit Slab(size_t bytes) : HostBuffer(bytes, AllocateSlab(bytes)) {}
  ~Slab() override { std::free(data()); }
};

}  // namespace

HostKvPages::HostKvPages(const KvShape& shape) : KvPages(shape, shape.Bytes(shape.page_positions)) {
  BIFRONS_CHECK(shape.page_positions % 32 == 0, "pages side by side must stay 64-byte aligned");
  BIFRONS_CHECK(IsKvType(shape.type));
}

std::unique_ptr<HostBuffer> HostKvPages::MakeSlab(size_t bytes) { return std::make_unique<Slab>(bytes); }

void HostKvPages::Grow(int64_t pages) {
  const std::lock_guard lock(mutex_);
  while (static_cast<int64_t>(slabs_.size()) * kSlabPages < pages) {
    slabs_.reserve(slabs_.size() + 1);
    slabs_.push_back(MakeSlab(static_cast<size_t>(kSlabPages) * page_bytes()));
  }
}

uint8_t* HostKvPages::page(int32_t number) const {
  const std::lock_guard lock(mutex_);
  BIFRONS_CHECK(number >= 0 && number / kSlabPages < static_cast<int64_t>(slabs_.size()),
                "page %d of %zu slabs", number, slabs_.size());
  return slabs_[static_cast<size_t>(number / kSlabPages)]->data() +
         static_cast<size_t>(number % kSlabPages) * page_bytes();
}

void HostKvPages::CopyPositions(int32_t from, int64_t positions, int32_t to) const {
  BIFRONS_CHECK(positions >= 0 && positions <= shape().page_positions);
  const size_t row = BytesOf(shape().type, shape().head_dim);
  const size_t head = static_cast<size_t>(shape().page_positions) * row;
  const uint8_t* source = page(from);
  uint8_t* target = page(to);
  for (size_t at = 0; at < page_bytes(); at += head) {
    std::memcpy(target + at, source + at, static_cast<size_t>(positions) * row);
  }
}

void HostKvPages::Discard(int32_t number) const {
  static const auto unit = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(page(number));
  // What the system's pages at both ends hold may be others'.
  const uintptr_t first = (begin + unit - 1) / unit * unit, end = (begin + page_bytes()) / unit * unit;
  if (first < end) ::madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
}

HostKvBatch::HostKvBatch(HostKvPages& pages, std::span<const KvSpan> spans) : KvBatch(pages, spans) {
  size_t count = 0;
  for (const KvSpan& span : spans) count += span.pages.size();
  pages_of_spans_.reserve(count);  // the rows point into it
  places_.reserve(static_cast<size_t>(rows()));
  for (const KvSpan& span : spans) {
    BIFRONS_CHECK(span.start >= 0 && span.start + span.rows <= static_cast<int64_t>(span.pages.size()) *
                                                                   pages.shape().page_positions);
    const auto* first = pages_of_spans_.data() + pages_of_spans_.size();
    for (const int32_t page : span.pages) pages_of_spans_.push_back(pages.page(page));
    for (int64_t r = 0; r < span.rows; r++) places_.push_back({span.start + r, first});
  }
}

uint8_t* HostKvBatch::Keys(const KvRow& row, int64_t layer, int64_t head, int64_t position) const {
  const KvShape& shape = pages().shape();
  const int64_t in_page = head * shape.page_positions + position % shape.page_positions;
  return const_cast<uint8_t*>(row.pages[position / shape.page_positions]) + host_pages().layer_offset(layer) +
         BytesOf(shape.type, in_page * shape.head_dim);
}

}  // namespace bifrons::host
