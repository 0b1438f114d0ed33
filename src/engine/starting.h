// Requests on their way into the batch: prompts that are being prefilled, one chunk at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "src/engine/kept_prompts.h"
#include "src/engine/prefixes.h"
#include "src/engine/row_batch.h"

namespace bifrons {

/// A request that has begun and has no rows yet.
class Starting {
 public:
  explicit Starting(int64_t id) : id_(id) {}
  virtual ~Starting() = default;
  int64_t id() const { return id_; }

  virtual bool complete() const = 0;
  /// Prefills one more chunk; the tokens it had. Not when complete.
  virtual int64_t Advance(Janus& janus) = 0;
  /// Puts the request's rows into the batch. When complete, once.
  virtual void Join(Janus& janus, RowBatch& batch) = 0;

 private:
  int64_t id_;
};

/// A picture, which begins with two prefixes that others may share and may be filling as well.
std::unique_ptr<Starting> StartPicture(int64_t id, const DrawRequest& request,
                                       std::shared_ptr<Prefix> conditional,
                                       std::shared_ptr<Prefix> unconditional);

/// An answer of at most `limit` tokens to a prompt whose images have been looked at. `kept` is the
/// conversation's prompt in the same pool, or null: what agrees is taken from it, and the whole is left
/// there.
std::unique_ptr<Starting> StartAnswer(Janus& janus, std::shared_ptr<KvPool> pool, int64_t id,
                                      const AnswerRequest& request, const Conversation& prompt, int64_t limit,
                                      std::shared_ptr<KeptPrompt> kept);

}  // namespace bifrons
