// Prefilled prompts of conversations, kept from one turn to the next.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "src/engine/answer.h"

namespace bifrons {

/// The prompt of a conversation's last turn.
struct KeptPrompt {
  std::vector<int32_t> ids;
  std::vector<ImageFeatures> images;
  std::optional<KvCache> kv;  // none before the first prompt is complete
  size_t bytes = 0;           // that are counted for it: the most of any turn
};

/// Those of one scheduler. Whoever holds a prompt's pointer keeps it from being dropped.
class KeptPrompts {
 public:
  using Key = std::shared_ptr<PromptCache>;

  /// The conversation's prompt, empty when there is none; from now on counted as `bytes` at least.
  std::shared_ptr<KeptPrompt> Obtain(const Key& conversation, size_t bytes);
  /// Bytes by which Obtain adds to what is counted.
  size_t GrowthFor(const Key& conversation, size_t bytes) const;

  /// Bytes of those that nobody uses now, but for `spared`, which may be null.
  size_t IdleBytes(const Key& spared) const;
  /// Forgets the one longest unused of these; its bytes, 0 when there is none.
  size_t DropOne(const Key& spared);
  /// Forgets those of conversations that nobody holds any more; their bytes.
  size_t DropAbandoned();

 private:
  struct Entry {
    std::weak_ptr<PromptCache> conversation;
    std::shared_ptr<KeptPrompt> prompt;

    // By owner, as addresses come again.
    bool IsOf(const Key& key) const {
      return !conversation.owner_before(key) && !key.owner_before(conversation);
    }
    bool IsIdle(const Key& spared) const { return prompt.use_count() == 1 && !(spared && IsOf(spared)); }
  };
  std::list<Entry> entries_;  // the last used first
};

}  // namespace bifrons
