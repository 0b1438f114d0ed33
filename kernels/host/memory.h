// Memory of the devices that work in the host's own: what is behind their views.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>

#include "kernels/view.h"

namespace bifrons::host {

class HostBuffer : public Buffer {
 public:
  explicit HostBuffer(size_t bytes)
      : Buffer(bytes), own_(std::aligned_alloc(64, std::max<size_t>(64, (bytes + 63) / 64 * 64))) {
    if (own_ == nullptr) throw std::bad_alloc();
    data_ = static_cast<uint8_t*>(own_.get());
  }
  /// Memory that a subclass manages.
  HostBuffer(size_t bytes, uint8_t* data) : Buffer(bytes), data_(data) {}
  uint8_t* data() const { return data_; }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> own_;
  uint8_t* data_;
};

/// The first byte of a view; null for an empty one.
inline uint8_t* Bytes(const View& v) {
  return v.empty() ? nullptr : static_cast<const HostBuffer*>(v.buffer)->data() + v.offset;
}

/// The first number of a view of that type.
template <class T>
T* At(const View& v) {
  BIFRONS_CHECK(v.empty() || v.type == DTypeOf<T>());
  return reinterpret_cast<T*>(Bytes(v));
}

/// A contiguous view as the host sees it.
inline TensorView Seen(const View& v) { return {Bytes(v), v.type, v.shape}; }

}  // namespace bifrons::host
