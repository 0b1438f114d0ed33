// Memory for packed weights: 64-byte aligned, zeroed, on huge pages when large (a decode step walks
// gigabytes; with 4 KB pages the walk waits for the page tables).
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace bifrons::cpu {

class WeightMemory {
 public:
  WeightMemory() = default;
  /// Throws OutOfMemory.
  explicit WeightMemory(size_t bytes);
  WeightMemory(WeightMemory&& o) noexcept : data_(std::exchange(o.data_, nullptr)), mapped_(o.mapped_) {}
  WeightMemory& operator=(WeightMemory&& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(mapped_, o.mapped_);
    return *this;
  }
  ~WeightMemory();

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }

 private:
  uint8_t* data_ = nullptr;
  size_t mapped_ = 0;  // bytes of the mapping
};

}  // namespace bifrons::cpu
