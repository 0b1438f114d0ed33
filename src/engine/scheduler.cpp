#include "src/engine/scheduler.h"

#include <algorithm>

#include "src/base/available_memory.h"
#include "src/engine/scheduler_loop.h"

namespace bifrons {
namespace {

// f32 buffers of one row in a step or of a prompt's chunk, with its logits.
size_t RowBytes(const JanusConfig& config, int64_t logits) {
  const LlamaConfig& l = config.llama;
  return sizeof(float) * static_cast<size_t>(3 * l.hidden + 2 * (l.heads + l.kv_heads) * l.head_dim +
                                             3 * l.intermediate + logits);
}

size_t BufferBytes(Janus& janus, const SchedulerOptions& options) {
  const JanusConfig& config = janus.config();
  size_t bytes = static_cast<size_t>(kPrefillChunk) * RowBytes(config, 0);
  if (janus.parts().drawing)
    bytes += 2 * static_cast<size_t>(options.pictures) * RowBytes(config, config.vq.codebook_size);
  if (janus.parts().understanding)
    bytes += static_cast<size_t>(options.answers) * RowBytes(config, config.llama.vocabulary);
  return bytes;
}

Admission::Limits LimitsFor(Janus& janus, const SchedulerOptions& options) {
  const size_t memory = options.memory > 0 ? options.memory : AvailableMemory() / 2;
  const size_t buffers = BufferBytes(janus, options);
  const LlamaConfig& llama = janus.config().llama;
  Admission::Limits limits{memory - std::min(memory, buffers), 0, options.pictures, options.answers};
  if (janus.parts().understanding && janus.parts().drawing) {
    // One question about one image, with an answer of the default length.
    const int64_t positions = janus.config().vision.patches() + 64 + kDefaultMaxTokens;
    limits.kept_for_answers = std::min(
        limits.bytes / 4, KvPool::BytesFor(llama, janus.kv_type(), std::min(positions, llama.max_positions)));
  }
  return limits;
}

}  // namespace

Scheduler::Scheduler(Janus& janus, const SchedulerOptions& options)
    : loop_(std::make_unique<Loop>(janus, options, LimitsFor(janus, options))) {}
Scheduler::~Scheduler() = default;

Result<Scheduler::Id> Scheduler::Submit(DrawRequest request, DrawHandlers handlers) {
  Janus& janus = loop_->janus;
  if (!janus.parts().drawing || !janus.parts().vq_decoder)
    return UsageError("the model's drawing half was not loaded");
  auto open = std::make_shared<OpenPicture>();
  open->prompt = janus.EncodePrompt(request.prompt);
  BIFRONS_RETURN_IF_ERROR(CheckPrompt(janus, open->prompt));
  const auto length = static_cast<int64_t>(open->prompt.conditional.size());
  const LlamaConfig& llama = janus.config().llama;
  // Both halves' rows, and their prefixes.
  open->bytes = 2 * (KvPool::BytesFor(llama, janus.kv_type(), length + janus.config().vq.tokens() - 1) +
                     KvPool::BytesFor(llama, janus.kv_type(), length));
  open->request = std::move(request), open->handlers = std::move(handlers);
  return loop_->Accept(std::move(open), "a picture");
}

Result<Scheduler::Id> Scheduler::Submit(AnswerRequest request, AnswerHandlers handlers) {
  Janus& janus = loop_->janus;
  if (!janus.parts().understanding) return UsageError("the model's understanding half was not loaded");
  auto open = std::make_shared<OpenAnswer>();
  open->prompt = janus.EncodeTurns(request.turns);
  BIFRONS_RETURN_IF_ERROR(CheckContext(janus, open->prompt));
  const auto length = static_cast<int64_t>(open->prompt.ids.size());
  const LlamaConfig& llama = janus.config().llama;
  open->limit = std::min(request.max_tokens, llama.max_positions - length);
  open->bytes = KvPool::BytesFor(llama, janus.kv_type(), length + open->limit);
  if (request.cache) open->bytes += KvPool::BytesFor(llama, janus.kv_type(), length);
  open->request = std::move(request), open->handlers = std::move(handlers);
  return loop_->Accept(std::move(open), "an answer");
}

void Scheduler::Cancel(Id id) {
  {
    const std::lock_guard lock(loop_->mutex);
    const auto found = loop_->open.find(id);
    if (found == loop_->open.end()) return;
    found->second->cancelled = true;
    loop_->any_cancelled = true;
  }
  loop_->Changed();
}

void Scheduler::WaitUntilIdle() {
  std::unique_lock lock(loop_->mutex);
  loop_->closed.wait(lock, [&] { return loop_->open.empty(); });
}

void Scheduler::RunBetweenSteps(const std::function<void()>& use) {
  std::packaged_task<void()> task(use);
  auto done = task.get_future();
  {
    const std::lock_guard lock(loop_->mutex);
    loop_->uses.push_back(std::move(task));
  }
  loop_->Changed();
  done.get();
}

SchedulerStats Scheduler::stats() const {
  const std::lock_guard lock(loop_->mutex);
  return loop_->stats;
}

const SchedulerOptions& Scheduler::options() const { return loop_->options; }
int64_t Scheduler::image_tokens() const { return loop_->janus.config().vq.tokens(); }

}  // namespace bifrons
