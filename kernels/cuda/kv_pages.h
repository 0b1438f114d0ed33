// Keys and values in the GPU's memory, and the places of a batch's rows in them.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "kernels/cuda/memory.h"
#include "kernels/weights.h"

namespace bifrons::cuda {

/// A page is [layers][keys, values][kv_heads][page_positions][row], where a row is head_dim numbers, or of
/// q8_0 head_dim steps and behind them a scale (f16) for every 32, in so much room that each begins at a
/// multiple of 16 bytes.
class CudaKvPages final : public KvPages {
 public:
  CudaKvPages(DeviceMemory& memory, const KvShape& shape);
  void Grow(int64_t pages) override;

  /// A page's first byte, as long as the pages exist.
  uint8_t* page(int32_t number) const;
  size_t row_bytes() const { return RowBytes(shape()); }
  size_t head_bytes() const { return static_cast<size_t>(shape().page_positions) * row_bytes(); }
  /// Where a layer's keys begin in a page; its values follow after half_bytes().
  size_t layer_offset(int64_t layer) const { return static_cast<size_t>(2 * layer) * half_bytes(); }
  size_t half_bytes() const { return static_cast<size_t>(shape().kv_heads) * head_bytes(); }

 private:
  static size_t RowBytes(const KvShape& shape);

  DeviceMemory& memory_;
  mutable std::mutex mutex_;  // pages are made while others are used
  std::vector<std::unique_ptr<CudaBuffer>> made_;
};

/// A row of a batch: its position in its sequence, and where that one's pages begin among all pages.
struct KvRow {
  int32_t position, first_page;
};

/// Positions of a span, over which attention is split, the same for every row, and threads of a span's block.
constexpr int kSpan = 128;

/// Consecutive rows of one sequence.
struct KvTile {
  int32_t first_row, rows;
};

/// For kernels, in the GPU's memory.
struct KvPlaces {
  uint8_t* const* pages;
  const KvRow* rows;
  const KvTile* tiles;
};

class CudaKvBatch final : public KvBatch {
 public:
  /// Rows of a tile where any sequence has more than one.
  static constexpr int32_t kTileRows = 8;

  CudaKvBatch(DeviceMemory& memory, KvPages& pages, std::span<const KvSpan> spans);

  const CudaKvPages& cuda_pages() const { return static_cast<const CudaKvPages&>(pages()); }
  /// To be brought to `places`: rows, tiles and pages; of batches with as many rows and tiles, each begins at
  /// the same byte.
  const std::vector<uint8_t>& bytes() const { return bytes_; }
  uint8_t* data() const { return buffer_->data(); }
  /// Where kernels find it: where it was brought, or Elsewhere.
  KvPlaces places() const;

  /// As long as it lives, kernels are told to find the batch at `data`, where it is yet to come.
  class Elsewhere {
   public:
    Elsewhere(const CudaKvBatch& batch, uint8_t* data) : batch_(batch) { batch.elsewhere_ = data; }
    ~Elsewhere() { batch_.elsewhere_ = nullptr; }
    Elsewhere(const Elsewhere&) = delete;
    Elsewhere& operator=(const Elsewhere&) = delete;

   private:
    const CudaKvBatch& batch_;
  };

  /// Every row once, in order: one row each, or up to kTileRows.
  const std::vector<KvTile>& tiles() const { return tiles_; }
  int32_t tile_rows() const { return tile_rows_; }
  /// The largest of all rows.
  int64_t last_position() const { return last_position_; }

 private:
  std::vector<KvTile> tiles_;
  int32_t tile_rows_ = 1;
  int64_t last_position_ = 0;
  std::vector<uint8_t> bytes_;
  std::unique_ptr<CudaBuffer> buffer_;
  mutable uint8_t* elsewhere_ = nullptr;
};

}  // namespace bifrons::cuda
