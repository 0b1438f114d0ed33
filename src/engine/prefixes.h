// Prefilled prompts, kept for all pictures that begin with them: those of one prompt share its conditional
// half, those with prompts of one length the unconditional half.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "src/engine/prefill.h"
#include "src/model/janus.h"

namespace bifrons {

/// A prompt's keys and values, filled chunk by chunk.
struct Prefix {
  std::vector<int32_t> ids;
  KvCache cache;
  DeviceTensor last_hidden;  // f32 [1, hidden] of the last position so far
  int64_t filled = 0;        // positions
  size_t bytes = 0;          // of the cache

  bool complete() const { return filled == static_cast<int64_t>(ids.size()); }
  /// Runs one more chunk; the tokens it had.
  int64_t Advance(Janus& janus);
};

class Prefixes {
 public:
  Prefixes(Janus& janus, std::shared_ptr<KvPool> pool) : janus_(janus), pool_(std::move(pool)) {}

  /// Whether Obtain would find it.
  bool Holds(const std::vector<int32_t>& ids) const;
  /// The prefix of these ids, which may be incomplete.
  std::shared_ptr<Prefix> Obtain(const std::vector<int32_t>& ids);
  /// What Obtain takes for it when it is not there.
  size_t BytesFor(const std::vector<int32_t>& ids) const;

  /// Bytes of those that nobody holds, but for those of `spared`, which may be null.
  size_t IdleBytes(const DrawingPrompt* spared) const;
  /// Forgets the one longest unused of these; its bytes, 0 when there is none.
  size_t DropOne(const DrawingPrompt* spared);
  /// Prefixes that are kept, in use or not.
  int64_t size() const { return static_cast<int64_t>(prefixes_.size()); }

 private:
  Janus& janus_;
  std::shared_ptr<KvPool> pool_;
  std::list<std::shared_ptr<Prefix>> prefixes_;  // the last used first
};

}  // namespace bifrons
