// One sequence's keys and values, all layers.
#pragma once

#include <cstdint>

#include "kernels/ops.h"
#include "src/base/tensor.h"
#include "src/model/config.h"

namespace bifrons {

class KvCache {
 public:
  /// Room for `capacity` positions; f32 or bf16.
  KvCache(const LlamaConfig& config, DType dtype, int64_t capacity);

  KvLayer layer(int64_t index);
  int64_t capacity() const { return capacity_; }

  /// Copies the first `positions` of every layer: how pictures of one prompt share its prefill.
  void CopyPrefix(const KvCache& from, int64_t positions);

  static size_t Bytes(const LlamaConfig& config, DType dtype, int64_t capacity);

 private:
  Tensor keys_, values_;  // [layers, kv_heads, capacity, head_dim]
  int64_t layers_, kv_heads_, head_dim_, capacity_;
};

}  // namespace bifrons
