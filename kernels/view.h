// Memory of a device, and windows onto it. Nobody above kernels/ can look through one: numbers are brought
// there and fetched by a Queue.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "src/base/check.h"
#include "src/base/dtype.h"
#include "src/base/tensor.h"

namespace bifrons {

/// A block of a device's memory, 64-byte aligned, of arbitrary content. What a queue was told before a buffer
/// goes is still done with it: dropping one never waits, and its memory is used again only afterwards.
class Buffer {
 public:
  virtual ~Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  size_t bytes() const { return bytes_; }

 protected:
  explicit Buffer(size_t bytes) : bytes_(bytes) {}

 private:
  size_t bytes_;
};

/// Numbers in a buffer: [rows, …], each row contiguous. Ops take it by value; it owns nothing.
struct View {
  Buffer* buffer = nullptr;
  size_t offset = 0;  // bytes from the buffer's beginning to the first number
  DType type = DType::kF32;
  Shape shape;
  int64_t stride = 0;  // numbers from one row to the next; a row has shape.elements() / shape[0] of them
  /// The rows stand as the device likes them best; only an op that says so reads or writes such a view.
  bool own_layout = false;

  bool empty() const { return buffer == nullptr; }
  int64_t rows() const { return shape.rank() == 0 ? 1 : shape[0]; }
  /// Numbers of a row, also where there are no rows.
  int64_t width() const {
    int64_t n = 1;
    for (int i = 1; i < shape.rank(); i++) n *= shape[i];
    return n;
  }
  bool contiguous() const { return rows() <= 1 || stride == width(); }
  /// Bytes of a row, and from one row to the next.
  size_t row_bytes() const { return BytesOf(type, width()); }
  size_t stride_bytes() const { return BytesOf(type, stride); }

  /// Rows [begin, begin + count).
  View Rows(int64_t begin, int64_t count) const {
    BIFRONS_CHECK(begin >= 0 && count >= 0 && begin + count <= rows());
    View part = *this;
    part.offset += BytesOf(type, begin * stride);
    part.shape = Shape{count};
    for (int i = 1; i < shape.rank(); i++) part.shape.Append(shape[i]);
    return part;
  }
  /// Columns [begin, begin + count) of a matrix [rows, columns].
  View Columns(int64_t begin, int64_t count) const {
    BIFRONS_CHECK(shape.rank() == 2 && begin >= 0 && count >= 0 && begin + count <= shape[1]);
    View part = *this;
    part.offset += BytesOf(type, begin);
    part.shape = Shape{shape[0], count};
    return part;
  }
  /// The first numbers of a contiguous view in another shape.
  View As(Shape other) const {
    BIFRONS_CHECK(contiguous() && other.elements() <= shape.elements(), "%s of %s", other.ToString().c_str(),
                  shape.ToString().c_str());
    View part = *this;
    part.shape = other;
    part.stride = part.width();
    return part;
  }
  View InOwnLayout() const {
    View part = *this;
    part.own_layout = true;
    return part;
  }
};

/// A buffer that holds one contiguous tensor. Move-only, like Tensor, its counterpart on the host.
class DeviceTensor {
 public:
  DeviceTensor() = default;
  DeviceTensor(std::unique_ptr<Buffer> buffer, DType type, Shape shape)
      : buffer_(std::move(buffer)), type_(type), shape_(shape) {}

  bool empty() const { return buffer_ == nullptr; }
  DType type() const { return type_; }
  const Shape& shape() const { return shape_; }
  size_t bytes() const { return buffer_ ? buffer_->bytes() : 0; }
  View view() const {
    View all{buffer_.get(), 0, type_, shape_};
    all.stride = all.width();
    return all;
  }
  /// Another shape over the same memory, which must be large enough for it.
  void Reshape(Shape shape) {
    BIFRONS_CHECK(BytesOf(type_, shape) <= bytes(), "%s does not fit %zu bytes", shape.ToString().c_str(),
                  bytes());
    shape_ = shape;
  }

 private:
  std::unique_ptr<Buffer> buffer_;
  DType type_ = DType::kF32;
  Shape shape_;
};

}  // namespace bifrons
