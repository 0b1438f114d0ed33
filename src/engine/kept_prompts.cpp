#include "src/engine/kept_prompts.h"

#include <algorithm>

namespace bifrons {

std::shared_ptr<KeptPrompt> KeptPrompts::Obtain(const Key& conversation, size_t bytes) {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.IsOf(conversation); });
  if (found != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, found);
  } else {
    entries_.push_front({conversation, std::make_shared<KeptPrompt>()});
  }
  const auto& prompt = entries_.front().prompt;
  prompt->bytes = std::max(prompt->bytes, bytes);
  return prompt;
}

size_t KeptPrompts::GrowthFor(const Key& conversation, size_t bytes) const {
  for (const Entry& entry : entries_) {
    if (entry.IsOf(conversation)) return bytes - std::min(bytes, entry.prompt->bytes);
  }
  return bytes;
}

size_t KeptPrompts::IdleBytes(const Key& spared) const {
  size_t bytes = 0;
  for (const Entry& entry : entries_) bytes += entry.IsIdle(spared) ? entry.prompt->bytes : 0;
  return bytes;
}

size_t KeptPrompts::DropOne(const Key& spared) {
  for (auto it = entries_.rbegin(); it != entries_.rend(); ++it) {
    if (!it->IsIdle(spared)) continue;
    const size_t bytes = it->prompt->bytes;
    entries_.erase(std::next(it).base());
    return bytes;
  }
  return 0;
}

size_t KeptPrompts::DropAbandoned() {
  size_t bytes = 0;
  std::erase_if(entries_, [&](const Entry& entry) {
    if (!entry.conversation.expired()) return false;
    bytes += entry.prompt->bytes;
    return true;
  });
  return bytes;
}

}  // namespace bifrons
