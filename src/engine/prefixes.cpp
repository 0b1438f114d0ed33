#include "src/engine/prefixes.h"

#include <algorithm>

namespace bifrons {

int64_t Prefix::Advance(Janus& janus) {
  const int64_t before = filled;
  filled = PrefillNext(janus, ids, {}, filled, cache, last_hidden.view());
  return filled - before;
}

bool Prefixes::Holds(const std::vector<int32_t>& ids) const {
  return std::any_of(prefixes_.begin(), prefixes_.end(),
                     [&](const auto& prefix) { return prefix->ids == ids; });
}

std::shared_ptr<Prefix> Prefixes::Obtain(const std::vector<int32_t>& ids) {
  const auto found = std::find_if(prefixes_.begin(), prefixes_.end(),
                                  [&](const auto& prefix) { return prefix->ids == ids; });
  if (found != prefixes_.end()) {
    prefixes_.splice(prefixes_.begin(), prefixes_, found);
    return prefixes_.front();
  }
  prefixes_.push_front(std::make_shared<Prefix>(
      Prefix{ids, KvCache(pool_, static_cast<int64_t>(ids.size())),
             janus_.device().NewTensor(DType::kF32, {1, janus_.config().llama.hidden}), 0, BytesFor(ids)}));
  return prefixes_.front();
}

size_t Prefixes::BytesFor(const std::vector<int32_t>& ids) const {
  return KvPool::BytesFor(janus_.config().llama, janus_.kv_type(), static_cast<int64_t>(ids.size()));
}

namespace {

bool IsIdle(const std::shared_ptr<Prefix>& prefix, const DrawingPrompt* spared) {
  const bool needed = spared && (prefix->ids == spared->conditional || prefix->ids == spared->unconditional);
  return prefix.use_count() == 1 && !needed;
}

}  // namespace

size_t Prefixes::IdleBytes(const DrawingPrompt* spared) const {
  size_t bytes = 0;
  for (const auto& prefix : prefixes_) bytes += IsIdle(prefix, spared) ? prefix->bytes : 0;
  return bytes;
}

size_t Prefixes::DropOne(const DrawingPrompt* spared) {
  for (auto it = prefixes_.rbegin(); it != prefixes_.rend(); ++it) {
    if (!IsIdle(*it, spared)) continue;
    const size_t bytes = (*it)->bytes;
    prefixes_.erase(std::next(it).base());
    return bytes;
  }
  return 0;
}

}  // namespace bifrons
