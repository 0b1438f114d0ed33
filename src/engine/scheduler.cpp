#include "src/engine/scheduler.h"

#include <algorithm>

#include "src/engine/budget.h"
#include "src/engine/scheduler_loop.h"
#include "src/model/memory_plan.h"

namespace bifrons {
namespace {

// What is left for the engine once the model is loaded.
uint64_t AvailableFor(Janus& janus, const SchedulerOptions& options) {
  return options.memory > 0 ? options.memory : janus.device().FreeMemory();
}

Admission::Limits LimitsFor(Janus& janus, const SchedulerOptions& options) {
  return PlanLimits(janus.config(), {janus.compute(), janus.kv_type()}, janus.parts(), options,
                    AvailableFor(janus, options));
}

}  // namespace

Scheduler::Scheduler(Janus& janus, const SchedulerOptions& options)
    : loop_(std::make_unique<Loop>(janus, options, LimitsFor(janus, options))) {}
Scheduler::~Scheduler() = default;

Result<Scheduler::Id> Scheduler::Submit(DrawRequest request, DrawHandlers handlers) {
  Janus& janus = loop_->janus;
  if (!janus.parts().drawing || !janus.parts().vq_decoder)
    return UsageError("the model's drawing half was not loaded");
  DrawingPrompt prompt = janus.EncodePrompt(request.prompt);
  BIFRONS_RETURN_IF_ERROR(CheckPrompt(janus, prompt));
  BIFRONS_RETURN_IF_ERROR(CheckBestOf(janus, request));
  const auto length = static_cast<int64_t>(prompt.conditional.size());
  const LlamaConfig& llama = janus.config().llama;
  const size_t bytes = PictureCacheBytes(llama, janus.kv_type(), length, janus.config().vq.tokens());
  BIFRONS_RETURN_IF_ERROR(loop_->CheckFits(bytes, "a picture"));
  if (request.best_of > 1) {
    BIFRONS_RETURN_IF_ERROR(loop_->CheckJudgement(request.prompt));
    auto choice = std::make_shared<OpenChoice>();
    choice->request = std::move(request), choice->handlers = std::move(handlers);
    choice->prompt = std::move(prompt), choice->picture_bytes = bytes;
    choice->scores.resize(static_cast<size_t>(choice->request.best_of));
    const auto first = loop_->NextCandidate(choice);
    return loop_->Accept(choice, choice->ids(), [&] {
      first->id = choice->candidate_id(0);
      loop_->new_pictures.push_back(first);
    });
  }
  auto picture = std::make_shared<OpenPicture>();
  picture->request = std::move(request), picture->handlers = std::move(handlers);
  picture->prompt = std::move(prompt), picture->bytes = bytes;
  return loop_->Accept(picture, 1, [&] { loop_->new_pictures.push_back(picture); });
}

Result<Scheduler::Id> Scheduler::Submit(AnswerRequest request, AnswerHandlers handlers) {
  if (!loop_->janus.parts().understanding) return UsageError("the model's understanding half was not loaded");
  BIFRONS_TRY(const auto answer, loop_->PlanAnswer(std::move(request)));
  BIFRONS_RETURN_IF_ERROR(loop_->CheckFits(answer->bytes, "an answer"));
  answer->handlers = std::move(handlers);
  return loop_->Accept(answer, 1, [&] { loop_->new_answers.push_back(answer); });
}

Result<std::shared_ptr<OpenAnswer>> Scheduler::Loop::PlanAnswer(AnswerRequest request) const {
  auto open = std::make_shared<OpenAnswer>();
  open->prompt = janus.EncodeTurns(request.turns);
  BIFRONS_RETURN_IF_ERROR(CheckContext(janus, open->prompt));
  if (!request.look) BIFRONS_RETURN_IF_ERROR(CheckImages(open->prompt, request.images.size()));
  const auto length = static_cast<int64_t>(open->prompt.ids.size());
  const LlamaConfig& llama = janus.config().llama;
  open->limit = std::min(request.max_tokens, llama.max_positions - length);
  const size_t features = open->prompt.image_starts.size() * FeatureBytes(janus.config());
  if (request.scored_text) {
    open->limit = static_cast<int64_t>(AnswerTokens(janus, *request.scored_text).size());
    if (length + open->limit > llama.max_positions) {
      return UsageError("the text to score is too long: its " + std::to_string(open->limit) +
                        " tokens after " + std::to_string(length) + " of the question exceed the model's " +
                        std::to_string(llama.max_positions) + " positions");
    }
    open->bytes += ScoredText::BufferBytes(janus.config());
  }
  open->bytes += KvPool::BytesFor(llama, janus.kv_type(), length + open->limit) + features;
  if (request.cache) {
    open->kept_bytes = KvPool::BytesFor(llama, janus.kv_type(), length) + features;
    open->bytes += open->kept_bytes;
  }
  open->request = std::move(request);
  return open;
}

void Scheduler::Cancel(Id id) {
  {
    const std::lock_guard lock(loop_->mutex);
    const auto found = loop_->open.find(id);
    if (found == loop_->open.end()) return;
    *found->second->cancelled = true;
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
  const KvPool& pool = *loop_->pool;
  const std::lock_guard lock(loop_->mutex);
  SchedulerStats stats = loop_->stats;
  stats.cache_bytes = static_cast<size_t>(pool.used()) * pool.page_bytes();
  stats.most_cache_bytes = static_cast<size_t>(pool.allocated()) * pool.page_bytes();
  return stats;
}

const SchedulerOptions& Scheduler::options() const { return loop_->options; }
int64_t Scheduler::image_tokens() const { return loop_->janus.config().vq.tokens(); }

}  // namespace bifrons
