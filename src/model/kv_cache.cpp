#include "src/model/kv_cache.h"

#include <cstring>

namespace bifrons {

KvCache::KvCache(const LlamaConfig& config, DType dtype, int64_t capacity)
    : keys_(dtype, {config.layers, config.kv_heads, capacity, config.head_dim}),
      values_(dtype, keys_.shape()),
      layers_(config.layers),
      kv_heads_(config.kv_heads),
      head_dim_(config.head_dim),
      capacity_(capacity) {}

KvLayer KvCache::layer(int64_t index) {
  const size_t offset =
      static_cast<size_t>(index * kv_heads_ * capacity_ * head_dim_) * SizeOf(keys_.dtype());
  return {static_cast<uint8_t*>(keys_.data()) + offset, static_cast<uint8_t*>(values_.data()) + offset,
          keys_.dtype(), capacity_};
}

void KvCache::CopyPrefix(const KvCache& from, int64_t positions) {
  BIFRONS_CHECK(positions <= capacity_ && positions <= from.capacity_ && keys_.dtype() == from.keys_.dtype());
  const size_t row = static_cast<size_t>(head_dim_) * SizeOf(keys_.dtype());
  const size_t bytes = static_cast<size_t>(positions) * row;
  for (int64_t head = 0; head < layers_ * kv_heads_; head++) {
    const size_t to_offset = static_cast<size_t>(head * capacity_) * row;
    const size_t from_offset = static_cast<size_t>(head * from.capacity_) * row;
    std::memcpy(static_cast<uint8_t*>(keys_.data()) + to_offset,
                static_cast<const uint8_t*>(from.keys_.data()) + from_offset, bytes);
    std::memcpy(static_cast<uint8_t*>(values_.data()) + to_offset,
                static_cast<const uint8_t*>(from.values_.data()) + from_offset, bytes);
  }
}

size_t KvCache::Bytes(const LlamaConfig& config, DType dtype, int64_t capacity) {
  return static_cast<size_t>(2 * config.layers * config.kv_heads * capacity * config.head_dim) *
         SizeOf(dtype);
}

}  // namespace bifrons
