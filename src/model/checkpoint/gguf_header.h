// What a GGUF file begins with: the metadata, and the tensors' names, shapes and places.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "src/base/tensor.h"
#include "src/model/checkpoint/gguf_types.h"

namespace bifrons {

/// Collects it. Keys and names are ours: each once, names of at most kMaxGgufName bytes.
class GgufHeader {
 public:
  void Add(std::string_view key, std::string_view text);
  void Add(std::string_view key, uint32_t number);
  void Add(std::string_view key, std::span<const std::string> texts);
  void Add(std::string_view key, std::span<const int32_t> numbers);
  /// Tensors lie in the order in which they are added, each behind PaddingOf the one before.
  void AddTensor(std::string_view name, DType type, const Shape& shape);

  /// All of it, up to the first tensor.
  std::string Text() const;
  /// Of all tensors, with what is between and behind them.
  uint64_t data_bytes() const { return data_bytes_; }

  /// Zeros that follow so many bytes, up to the next tensor.
  static uint64_t PaddingOf(uint64_t bytes) {
    return (kGgufAlignment - bytes % kGgufAlignment) % kGgufAlignment;
  }

 private:
  void BeginValue(std::string_view key, GgufValue type);
  void BeginList(std::string_view key, GgufValue type, uint64_t count);

  std::string values_, tensors_;
  uint64_t value_count_ = 0, tensor_count_ = 0, data_bytes_ = 0;
};

}  // namespace bifrons
