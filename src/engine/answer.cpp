#include "src/engine/answer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <mutex>

#include "src/engine/scheduler.h"

namespace bifrons {

Status CheckContext(Janus& janus, const Conversation& prompt) {
  const auto length = static_cast<int64_t>(prompt.ids.size());
  const int64_t limit = janus.config().llama.max_positions;
  if (length < limit) return {};
  const auto images = static_cast<int64_t>(prompt.image_starts.size());
  const int64_t image_tokens = images * janus.config().vision.patches();
  return UsageError("the conversation is too long: " + std::to_string(images) + " image" +
                        (images == 1 ? "" : "s") + " of " + std::to_string(janus.config().vision.patches()) +
                        " tokens and " + std::to_string(length - image_tokens) + " tokens of text make " +
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

namespace {

// log softmax(logits)[token]
double TokenLogProbability(const float* logits, int64_t vocabulary, int32_t token) {
  const float largest = *std::max_element(logits, logits + vocabulary);
  double sum = 0;
  for (int64_t i = 0; i < vocabulary; i++) sum += std::exp(static_cast<double>(logits[i] - largest));
  return static_cast<double>(logits[token] - largest) - std::log(sum);
}

// Logits f32 [rows, vocabulary] of hidden states f32 [rows, hidden], for the host.
Tensor TextLogits(Janus& janus, View hidden) {
  const Shape shape{hidden.rows(), janus.config().llama.vocabulary};
  const DeviceTensor logits = janus.device().NewTensor(DType::kF32, shape);
  janus.TextLogits(janus.steps(), hidden, logits.view());
  return janus.steps().Fetch(logits.view());
}

}  // namespace

Result<double> LogProbability(Janus& janus, const AnswerRequest& request, std::string_view text) {
  const LlamaConfig& config = janus.config().llama;
  const Conversation prompt = janus.EncodeTurns(request.turns);
  BIFRONS_RETURN_IF_ERROR(CheckContext(janus, prompt));
  BIFRONS_RETURN_IF_ERROR(CheckImages(prompt, request.images.size()));
  // An answer begins with the space that follows "Assistant:".
  const std::vector<int32_t> answer = janus.tokenizer().Encode(" " + std::string(text));
  const auto length = static_cast<int64_t>(prompt.ids.size()), count = static_cast<int64_t>(answer.size());
  if (length + count > config.max_positions) {
    return UsageError("the text to judge by is too long: " + std::to_string(count) + " tokens after " +
                      std::to_string(length) + " exceed the model's " + std::to_string(config.max_positions) +
                      " positions");
  }
  Queue& queue = janus.steps();
  KvCache kv(janus.MakeKvPool(), length + count);
  const DeviceTensor x = janus.device().NewTensor(DType::kF32, {count, config.hidden});
  Prefill(janus, prompt.ids, PlaceImages(prompt, request.images), 0, kv, x.view().Rows(0, 1));
  if (count > 1) {
    // Row i + 1 follows token i; all tokens are known, so one pass serves them.
    const View rest = x.view().Rows(1, count - 1);
    const DeviceTensor ids = Uploaded(janus, queue, std::span(answer).first(answer.size() - 1));
    janus.llama().EmbedText(queue, ids.view(), rest);
    const SequenceSpan span{&kv, length, count - 1, RowClass::kDecode};
    janus.llama().Forward(queue, {&span, 1}, rest);
  }
  const Tensor logits = TextLogits(janus, x.view());
  double total = 0;
  for (int64_t i = 0; i < count; i++) {
    total += TokenLogProbability(logits.as<float>() + i * config.vocabulary, config.vocabulary,
                                 answer[static_cast<size_t>(i)]);
  }
  return total;
}

Result<std::vector<float>> FirstTokenLogits(Janus& janus, const AnswerRequest& request) {
  const Conversation prompt = janus.EncodeTurns(request.turns);
  BIFRONS_RETURN_IF_ERROR(CheckContext(janus, prompt));
  BIFRONS_RETURN_IF_ERROR(CheckImages(prompt, request.images.size()));
  KvCache kv(janus.MakeKvPool(), static_cast<int64_t>(prompt.ids.size()));
  const DeviceTensor hidden = janus.device().NewTensor(DType::kF32, {1, janus.config().llama.hidden});
  Prefill(janus, prompt.ids, PlaceImages(prompt, request.images), 0, kv, hidden.view());
  return ToFloats(TextLogits(janus, hidden.view()).view());
}

}  // namespace bifrons
