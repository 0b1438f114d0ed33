// What a device makes of a model's weights and of its keys and values. Layouts are the device's own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string_view>

#include "src/base/dtype.h"
#include "src/base/tensor.h"

namespace bifrons {

/// A matrix [out, in] with optional bias [out]. Stored values are kept (bf16 stays bf16).
struct Linear {
  virtual ~Linear() = default;
  int64_t out = 0, in = 0;
  DType compute = DType::kF32;  // of its products: f32, or bf16: activations rounded to bf16, sums in f32
  size_t bytes = 0;             // memory held; also what one pass over it reads
};

/// A matrix [rows, width] whose rows are looked up by number.
struct Table {
  virtual ~Table() = default;
  int64_t rows = 0, width = 0;
  size_t bytes = 0;  // memory held, beside the views that it was made from
};

struct ConvShape {
  int64_t in_channels = 0, out_channels = 0;
  int64_t height = 0, width = 0;  // of the input
  int kernel = 1;                 // 1 or 3
  /// 1: zero padding kernel/2. 2, with kernel 3: zeros right and below only, the output halves.
  int stride = 1;
  DType type = DType::kF32;         // of the input map and of the arithmetic: f32 or bf16
  DType output_type = DType::kF32;  // `type`, or f32

  /// Of the output; half of an odd size is rounded down.
  int64_t out_height() const { return height / stride; }
  int64_t out_width() const { return width / stride; }
  /// Rows and columns of zeros above and to the left of the input.
  int padding() const { return stride == 1 ? kernel / 2 : 0; }
  Shape in() const { return {height, width, in_channels}; }
  Shape out() const { return {out_height(), out_width(), out_channels}; }
  int64_t macs() const { return out_height() * out_width() * in_channels * out_channels * kernel * kernel; }
};

/// A convolution's weights, for one input size.
struct Conv2d {
  virtual ~Conv2d() = default;
  ConvShape shape;
  size_t bytes = 0;
};

/// What is cached of one position.
struct KvShape {
  int64_t layers = 0, kv_heads = 0, head_dim = 0;
  int64_t page_positions = 0;  // positions of a page, all layers'; a multiple of 32
  DType type = DType::kF32;  // of what is stored, whatever the arithmetic: f32, bf16, or q8_0 of whole blocks

  /// Keys and values of so many positions.
  size_t Bytes(int64_t positions) const { return BytesOf(type, {2 * layers, kv_heads, positions, head_dim}); }
};

constexpr DType kKvTypes[] = {DType::kF32, DType::kBF16, DType::kQ8_0};

constexpr bool IsKvType(DType type) {
  return std::find(std::begin(kKvTypes), std::end(kKvTypes), type) != std::end(kKvTypes);
}

/// Of KvShape; none where the name is no such type's.
constexpr std::optional<DType> KvTypeOf(std::string_view name) {
  for (const DType type : kKvTypes) {
    if (NameOf(type) == name) return type;
  }
  return std::nullopt;
}

/// Keys and values of many sequences, in numbered pages. Who holds which page is not its business.
class KvPages {
 public:
  virtual ~KvPages() = default;
  const KvShape& shape() const { return shape_; }
  /// Of one page, as the device lays it out.
  size_t page_bytes() const { return page_bytes_; }
  /// Makes memory for pages [0, pages) where there is not; their content is arbitrary. May be called from any
  /// thread, also while a queue works on other pages. Throws std::bad_alloc, and then has as many pages as
  /// before.
  virtual void Grow(int64_t pages) = 0;

 protected:
  KvPages(const KvShape& shape, size_t page_bytes) : shape_(shape), page_bytes_(page_bytes) {}

 private:
  KvShape shape_;
  size_t page_bytes_;
};

/// `rows` consecutive rows of a ragged batch that belong to one sequence, at positions start, start + 1, …;
/// position p stands in page pages[p / page_positions].
struct KvSpan {
  int64_t rows = 0, start = 0;
  std::span<const int32_t> pages;
};

/// Positions and pages of a ragged batch's rows, brought to the device once for all layers.
class KvBatch {
 public:
  virtual ~KvBatch() = default;
  int64_t rows() const { return rows_; }
  /// Positions that attention over the batch reads: every sequence's once, up to its last row.
  int64_t positions_read() const { return positions_read_; }
  /// Positions that every row sees, its own included, summed over the rows.
  int64_t positions_seen() const { return positions_seen_; }
  KvPages& pages() const { return pages_; }

 protected:
  KvBatch(KvPages& pages, std::span<const KvSpan> spans) : pages_(pages) {
    for (const KvSpan& span : spans) {
      rows_ += span.rows;
      positions_read_ += span.start + span.rows;
      positions_seen_ += span.rows * span.start + span.rows * (span.rows + 1) / 2;
    }
  }

 private:
  KvPages& pages_;
  int64_t rows_ = 0, positions_read_ = 0, positions_seen_ = 0;
};

}  // namespace bifrons
