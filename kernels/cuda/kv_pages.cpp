#include "kernels/cuda/kv_pages.h"

#include <algorithm>

#include "src/base/check.h"

namespace bifrons::cuda {

size_t CudaKvPages::RowBytes(const KvShape& shape) {
  return (BytesOf(shape.type, shape.head_dim) + 15) / 16 * 16;  // steps and scales of blocks, too
}

CudaKvPages::CudaKvPages(DeviceMemory& memory, const KvShape& shape)
    : KvPages(shape, static_cast<size_t>(2 * shape.layers * shape.kv_heads * shape.page_positions) *
                         RowBytes(shape)),
      memory_(memory) {
  BIFRONS_CHECK(IsKvType(shape.type));
  BIFRONS_CHECK(shape.page_positions % 32 == 0);  // a warp's positions stand in one page
}

void CudaKvPages::Grow(int64_t pages) {
  const std::lock_guard lock(mutex_);
  const size_t before = made_.size();
  try {
    while (std::ssize(made_) < pages)
      made_.push_back(std::make_unique<CudaBuffer>(memory_, page_bytes(), "keys and values"));
  } catch (...) {
    made_.resize(before);
    throw;
  }
}

uint8_t* CudaKvPages::page(int32_t number) const {
  const std::lock_guard lock(mutex_);
  BIFRONS_CHECK(number >= 0 && number < std::ssize(made_), "page %d of %zu", number, made_.size());
  return made_[static_cast<size_t>(number)]->data();
}

CudaKvBatch::CudaKvBatch(DeviceMemory& memory, KvPages& pages, std::span<const KvSpan> spans)
    : KvBatch(pages, spans) {
  size_t page_count = 0;
  for (const KvSpan& span : spans) {
    BIFRONS_CHECK(span.start >= 0 && span.start + span.rows <= static_cast<int64_t>(span.pages.size()) *
                                                                   pages.shape().page_positions);
    page_count += span.pages.size();
    if (span.rows > 1) tile_rows_ = kTileRows;
  }
  std::vector<uint8_t*> addresses;
  std::vector<KvRow> places;
  addresses.reserve(page_count);
  places.reserve(static_cast<size_t>(rows()));
  for (const KvSpan& span : spans) {
    const auto first_page = static_cast<int32_t>(addresses.size());
    for (const int32_t page : span.pages) addresses.push_back(cuda_pages().page(page));
    for (int64_t r = 0; r < span.rows; r++) {
      if (r % tile_rows_ == 0) tiles_.push_back({static_cast<int32_t>(places.size()), 0});
      tiles_.back().rows++;
      places.push_back({static_cast<int32_t>(span.start + r), first_page});
    }
    if (span.rows > 0) last_position_ = std::max(last_position_, span.start + span.rows - 1);
  }
  const auto append = [this](const auto& list) {
    const auto* first = reinterpret_cast<const uint8_t*>(list.data());
    bytes_.insert(bytes_.end(), first, first + list.size() * sizeof(list[0]));
  };
  append(places), append(tiles_), append(addresses);
  buffer_ = std::make_unique<CudaBuffer>(memory, bytes_.size(), "a batch");
}

KvPlaces CudaKvBatch::places() const {
  static_assert(sizeof(KvRow) % alignof(uint8_t*) == 0 && sizeof(KvTile) % alignof(uint8_t*) == 0);
  const uint8_t* rows_at = elsewhere_ != nullptr ? elsewhere_ : data();
  const uint8_t* tiles_at = rows_at + static_cast<size_t>(rows()) * sizeof(KvRow);
  const uint8_t* pages_at = tiles_at + tiles_.size() * sizeof(KvTile);
  return {reinterpret_cast<uint8_t* const*>(pages_at), reinterpret_cast<const KvRow*>(rows_at),
          reinterpret_cast<const KvTile*>(tiles_at)};
}

}  // namespace bifrons::cuda
