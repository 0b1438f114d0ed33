// Memory in three types: Shape, a non-owning TensorView, and the owner Tensor (64-byte aligned).
#pragma once

#include <array>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "src/base/check.h"
#include "src/base/dtype.h"
#include "src/base/out_of_memory.h"

namespace bifrons {

/// Up to four dimensions, outermost first, row-major.
class Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) {
    BIFRONS_CHECK(dims.size() <= kMaxRank);
    for (int64_t d : dims) dims_[rank_++] = d;
  }
  void Append(int64_t d) {
    BIFRONS_CHECK(rank_ < kMaxRank);
    dims_[rank_++] = d;
  }

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[i]; }
  int64_t elements() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; i++) n *= dims_[i];
    return n;
  }
  bool operator==(const Shape& o) const = default;
  /// "[2048, 5632]"
  std::string ToString() const {
    std::string s = "[";
    for (int i = 0; i < rank_; i++) s += (i ? ", " : "") + std::to_string(dims_[i]);
    return s + "]";
  }

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

/// Of a contiguous tensor, whose innermost dimension is whole blocks.
inline size_t BytesOf(DType type, const Shape& shape) {
  if (shape.rank() == 0) return BytesOf(type, 1);
  size_t bytes = BytesOf(type, shape[shape.rank() - 1]);
  for (int i = 0; i + 1 < shape.rank(); i++) bytes *= static_cast<size_t>(shape[i]);
  return bytes;
}

/// Contiguous elements that somebody else owns (a mapped file, a Tensor). Trivially copyable.
struct TensorView {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  Shape shape;

  bool empty() const { return data == nullptr; }
  size_t bytes() const { return BytesOf(dtype, shape); }
  template <class T>
  const T* as() const {
    BIFRONS_CHECK(dtype == DTypeOf<T>());
    return static_cast<const T*>(data);
  }
};

/// One floating-point element of a type that stores each by itself, widened.
inline float ElementAt(const TensorView& view, int64_t i) {
  switch (view.dtype) {
    case DType::kF32:
      return static_cast<const float*>(view.data)[i];
    case DType::kBF16:
      return ToFloat(static_cast<const BF16*>(view.data)[i]);
    case DType::kF16:
      return ToFloat(static_cast<const F16*>(view.data)[i]);
    default:
      break;
  }
  BIFRONS_CHECK(false, "a tensor of %s where single numbers were expected", NameOf(view.dtype));
}

/// All elements of a small tensor (a norm's weight, a bias), widened.
inline std::vector<float> ToFloats(const TensorView& view) {
  std::vector<float> values(static_cast<size_t>(view.shape.elements()));
  for (size_t i = 0; i < values.size(); i++) values[i] = ElementAt(view, static_cast<int64_t>(i));
  return values;
}

/// Owner of an uninitialised, 64-byte aligned block. Move-only. Making one throws OutOfMemory.
class Tensor {
 public:
  Tensor() = default;
  Tensor(DType dtype, Shape shape) : dtype_(dtype), shape_(shape), capacity_(bytes()) {
    const size_t size = (bytes() + 63) / 64 * 64;
    data_.reset(std::aligned_alloc(64, size ? size : 64));
    if (!data_) throw OutOfMemory(size, "a tensor");
  }
  static Tensor Zeros(DType dtype, Shape shape) {
    Tensor t(dtype, shape);
    std::memset(t.data(), 0, t.bytes());
    return t;
  }

  /// Another shape over the same memory, which must be large enough for it.
  void Reshape(Shape shape) {
    shape_ = shape;
    BIFRONS_CHECK(bytes() <= capacity_, "%s does not fit %zu bytes", shape.ToString().c_str(), capacity_);
  }

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  size_t bytes() const { return BytesOf(dtype_, shape_); }
  bool empty() const { return data_ == nullptr; }
  void* data() { return data_.get(); }
  const void* data() const { return data_.get(); }
  template <class T>
  T* as() {
    BIFRONS_CHECK(dtype_ == DTypeOf<T>());
    return static_cast<T*>(data_.get());
  }
  template <class T>
  const T* as() const {
    return const_cast<Tensor*>(this)->as<T>();
  }
  TensorView view() const { return {data_.get(), dtype_, shape_}; }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> data_;
  DType dtype_ = DType::kF32;
  Shape shape_;
  size_t capacity_ = 0;  // bytes of the first shape
};

/// A buffer for f32 [rows, width]: `buffer` itself if it has so many rows, else made anew.
inline float* Grown(Tensor& buffer, int64_t rows, int64_t width) {
  if (buffer.empty() || buffer.shape()[0] < rows) buffer = Tensor(DType::kF32, {rows, width});
  return buffer.as<float>();
}

}  // namespace bifrons
