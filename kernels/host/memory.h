// Memory of the devices that work in the host's own: what is behind their views.
#pragma once

#include <cstdlib>
#include <new>
#include <type_traits>

#include "kernels/view.h"

namespace bifrons::host {

class HostBuffer final : public Buffer {
 public:
  explicit HostBuffer(size_t bytes) : Buffer(bytes) {
    data_ = static_cast<uint8_t*>(std::aligned_alloc(64, std::max<size_t>(64, (bytes + 63) / 64 * 64)));
    if (data_ == nullptr) throw std::bad_alloc();
  }
  ~HostBuffer() override { std::free(data_); }
  uint8_t* data() const { return data_; }

 private:
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
