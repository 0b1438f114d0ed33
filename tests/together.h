// Requests that join a scheduler at chosen steps.
#pragma once

#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <vector>

#include "src/engine/scheduler.h"

namespace bifrons {

inline std::unique_ptr<Janus> Loaded(Result<std::unique_ptr<Janus>> janus) {
  if (!janus.ok()) FAIL(janus.error().message);
  return std::move(*janus);
}

inline LoadOptions OfTiny(const ModelParts& parts) {
  LoadOptions options;
  options.model = BIFRONS_TEST_DIR "/goldens/tiny-a/converted";
  options.compute = DType::kF32;
  options.parts = parts;
  return options;
}

/// The tiny model in f32 with these parts, on the cpu device or on another one.
inline std::unique_ptr<Janus> LoadTiny(int threads, const ModelParts& parts) {
  LoadOptions options = OfTiny(parts);
  options.threads = threads;
  return Loaded(Janus::Load(options));
}
inline std::unique_ptr<Janus> LoadTiny(std::unique_ptr<Device> device, const ModelParts& parts) {
  return Loaded(Janus::Load(OfTiny(parts), std::move(device)));
}
inline std::unique_ptr<Device> RefDevice(int threads) { return std::move(*MakeDevice("ref", "", threads)); }

/// What each request became; `streamed` is what its on_text was told.
struct Outcome {
  std::optional<Result<Answer>> answer;
  std::optional<Result<DrawnPicture>> picture;
  std::string streamed;
};

/// A request as a function that submits itself and says what became of it.
using Submit = std::function<void(Scheduler&, Outcome&)>;

inline Submit Asking(const AnswerRequest& request) {
  return [request](Scheduler& scheduler, Outcome& outcome) {
    const auto id =
        scheduler.Submit(request, {[&](const std::string& more) { outcome.streamed += more; },
                                   [&](Result<Answer> answer) { outcome.answer = std::move(answer); }});
    if (!id.ok()) outcome.answer = id.error();
  };
}

inline Submit Drawing(const DrawRequest& request) {
  return [request](Scheduler& scheduler, Outcome& outcome) {
    const auto id =
        scheduler.Submit(request, {nullptr, [&](Result<DrawnPicture> p) { outcome.picture = std::move(p); }});
    if (!id.ok()) outcome.picture = id.error();
  };
}

/// Request i is submitted after `steps[i]` steps (ascending), or when nothing else is left to do.
inline std::vector<Outcome> RunTogether(Janus& janus, const std::vector<Submit>& requests,
                                        const std::vector<int>& steps, SchedulerOptions options = {}) {
  std::vector<Outcome> outcomes(requests.size());
  Scheduler* scheduler = nullptr;
  size_t next = 0;
  int step = 0;
  options.on_step = [&] {
    step++;
    for (; next < requests.size() && steps[next] <= step; next++) requests[next](*scheduler, outcomes[next]);
  };
  Scheduler made(janus, options);
  scheduler = &made;
  while (next < requests.size()) {
    // Between steps, as on_step: the counters belong to the scheduler's thread.
    made.RunBetweenSteps([&] {
      if (next < requests.size()) requests[next](made, outcomes[next]), next++;
    });
    made.WaitUntilIdle();
  }
  made.WaitUntilIdle();
  return outcomes;
}

/// Answers of requests[order[i]], which joins after `every · i` steps; by request. The text that was streamed
/// adds up.
inline std::vector<Answer> AnswerTogether(Janus& janus, const std::vector<AnswerRequest>& requests,
                                          const std::vector<size_t>& order, int every) {
  std::vector<Submit> submits;
  std::vector<int> steps;
  for (const size_t i : order) {
    submits.push_back(Asking(requests[i]));
    steps.push_back(every * static_cast<int>(steps.size()));
  }
  const auto outcomes = RunTogether(janus, submits, steps);
  std::vector<Answer> answers(requests.size());
  for (size_t i = 0; i < order.size(); i++) {
    REQUIRE(outcomes[i].answer);
    if (!outcomes[i].answer->ok()) FAIL(outcomes[i].answer->error().message);
    answers[order[i]] = **outcomes[i].answer;
    CHECK(outcomes[i].streamed == answers[order[i]].text);
  }
  return answers;
}

/// The options with memory that leaves so many bytes for keys and values.
inline SchedulerOptions WithCaches(Janus& janus, size_t caches, SchedulerOptions options) {
  constexpr size_t kPlenty = size_t{1} << 32;
  options.memory = kPlenty;
  options.memory = kPlenty - Scheduler(janus, options).stats().cache_budget + caches;
  return options;
}

/// What a picture's keys and values take.
inline size_t PictureBytes(Janus& janus, const std::string& prompt) {
  const auto length = static_cast<int64_t>(janus.EncodePrompt(prompt).conditional.size());
  const LlamaConfig& llama = janus.config().llama;
  return 2 * (KvPool::BytesFor(llama, janus.kv_type(), length + janus.config().vq.tokens() - 1) +
              KvPool::BytesFor(llama, janus.kv_type(), length));
}

inline Answer AnswerAlone(Janus& janus, const AnswerRequest& request) {
  return std::move(AnswerTogether(janus, {request}, {0}, 0)[0]);
}

}  // namespace bifrons
