#include "src/engine/answer.h"

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "src/base/counted.h"
#include "src/engine/scheduler.h"

namespace bifrons {

Status CheckContext(Janus& janus, const Conversation& prompt) {
  const auto length = static_cast<int64_t>(prompt.ids.size());
  const int64_t limit = janus.config().llama.max_positions;
  if (length < limit) return {};
  const auto images = static_cast<int64_t>(prompt.image_starts.size());
  const int64_t image_tokens = images * janus.config().vision.patches();
  return UsageError("the conversation is too long: " + Counted(images, "image") + " of " +
                        std::to_string(janus.config().vision.patches()) + " tokens and " +
                        std::to_string(length - image_tokens) + " tokens of text make " +
                        std::to_string(length) + ", and the model's context holds " + std::to_string(limit) +
                        " with the answer; use fewer images or a shorter text",
                    "messages");
}

Status CheckContext(Janus& janus, std::span<const Turn> turns) {
  return CheckContext(janus, janus.EncodeTurns(turns));
}

Status CheckImages(const Conversation& prompt, size_t images) {
  const size_t asked = prompt.image_starts.size();
  if (images == asked) return {};
  return UsageError("the request has " + std::to_string(images) + (images == 1 ? " image" : " images") +
                    ", but its messages ask about " + std::to_string(asked));
}

std::vector<PromptImage> PlaceImages(const Conversation& prompt, std::span<const ImageFeatures> images) {
  BIFRONS_CHECK(prompt.image_starts.size() == images.size(), "%zu images for %zu placeholders", images.size(),
                prompt.image_starts.size());
  std::vector<PromptImage> placed;
  for (size_t i = 0; i < images.size(); i++) placed.push_back({prompt.image_starts[i], images[i]});
  return placed;
}

// How long a caller is left without a call.
constexpr std::chrono::milliseconds kPatience{100};

Result<Answer> AnswerOne(Scheduler& scheduler, AnswerRequest request,
                         const std::function<bool(const std::string& more)>& on_text) {
  std::mutex mutex;
  std::condition_variable news;
  std::string more;  // that on_text has not seen
  std::optional<Result<Answer>> answer;
  AnswerHandlers handlers;
  handlers.on_text = [&](const std::string& text) {
    const std::lock_guard lock(mutex);
    more += text;
    news.notify_all();
  };
  handlers.on_done = [&](Result<Answer> done) {
    const std::lock_guard lock(mutex);
    answer.emplace(std::move(done));
    news.notify_all();
  };
  BIFRONS_TRY(const Scheduler::Id id, scheduler.Submit(std::move(request), std::move(handlers)));
  // However this ends, also by what on_text throws, nobody calls back afterwards.
  const auto end = [&] {
    scheduler.Cancel(id);
    std::unique_lock lock(mutex);
    news.wait(lock, [&] { return answer.has_value(); });
  };
  struct AtEnd {
    const decltype(end)& call;
    ~AtEnd() { call(); }
  } const at_end{end};
  for (std::unique_lock lock(mutex);;) {
    news.wait_for(lock, kPatience, [&] { return answer || !more.empty(); });
    const std::string text = std::exchange(more, "");
    if (on_text) {
      lock.unlock();
      const bool goes_on = on_text(text);
      if (!goes_on) return Failure(Scheduler::kCancelled);
      lock.lock();
    }
    if (answer && more.empty()) return std::move(*answer);
  }
}

Result<std::vector<float>> FirstTokenLogits(Janus& janus, const AnswerRequest& request) {
  const Conversation prompt = janus.EncodeTurns(request.turns);
  BIFRONS_RETURN_IF_ERROR(CheckContext(janus, prompt));
  BIFRONS_RETURN_IF_ERROR(CheckImages(prompt, request.images.size()));
  KvCache kv(janus.MakeKvPool(), static_cast<int64_t>(prompt.ids.size()));
  const DeviceTensor hidden = janus.device().NewTensor(DType::kF32, {1, janus.config().llama.hidden});
  Prefill(janus, prompt.ids, PlaceImages(prompt, request.images), 0, kv, hidden.view());
  const DeviceTensor logits = janus.device().NewTensor(DType::kF32, {1, janus.config().llama.vocabulary});
  janus.TextLogits(janus.steps(), hidden.view(), logits.view());
  return ToFloats(janus.steps().Fetch(logits.view()).view());
}

}  // namespace bifrons
