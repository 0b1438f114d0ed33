// How requests share a scheduler: prefixes, steps, memory, conversations, and its end.
#include "src/engine/scheduler.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <random>
#include <set>
#include <thread>

#include "src/engine/judge.h"
#include "tests/deferred_device.h"
#include "tests/test_pictures.h"
#include "tests/together.h"

namespace bifrons {
namespace {

constexpr ModelParts kBothHalves{.understanding = true};

std::unique_ptr<Janus> LoadTiny(int threads) { return bifrons::LoadTiny(threads, kBothHalves); }

// Of a case that is run on the cpu device, and again on one that works late.
std::unique_ptr<Janus> LoadTinyOnBoth() {
  return GENERATE(false, true) ? bifrons::LoadTiny(MakeDeferredDevice(1, 2), kBothHalves) : LoadTiny(2);
}

TEST_CASE("pictures of one prompt share its prefill, those of one length the unconditional one") {
  const auto janus = LoadTiny(2);
  // Unusual words, so that each letter is a token.
  const std::string prompt = "zq xj", same_length = "zq xv";
  const auto length = static_cast<int64_t>(janus->EncodePrompt(prompt).conditional.size());
  REQUIRE(static_cast<int64_t>(janus->EncodePrompt(same_length).conditional.size()) == length);
  Scheduler scheduler(*janus, {});
  const auto prefilled = [&](const std::string& what) {
    const std::vector<DrawRequest> requests(3, {what, 1, {}});
    REQUIRE(Draw(scheduler, requests, nullptr).ok());
    return scheduler.stats().prompt_tokens;
  };
  CHECK(prefilled(prompt) == 2 * length);
  CHECK(prefilled(same_length) == 3 * length);
  CHECK(prefilled(prompt) == 3 * length);
}

TEST_CASE("steps carry pictures' pairs and answers' rows together") {
  const auto janus = LoadTiny(2);
  std::vector<Submit> submits;
  for (uint64_t i = 0; i < 3; i++) submits.push_back(Drawing({"a dog", i, {}}));
  AnswerRequest ask;
  ask.turns = {{0, "Hello?", ""}};
  ask.max_tokens = 10;
  submits.push_back(Asking(ask));
  submits.push_back(Asking(ask));
  int64_t largest = 0;
  SchedulerOptions options;
  Scheduler* watched = nullptr;
  options.on_step = [&] { largest = std::max(largest, watched->stats().largest_step); };
  Scheduler scheduler(*janus, options);
  watched = &scheduler;
  std::vector<Outcome> outcomes(submits.size());
  scheduler.RunBetweenSteps([&] {
    for (size_t i = 0; i < submits.size(); i++) submits[i](scheduler, outcomes[i]);
  });
  scheduler.WaitUntilIdle();
  CHECK(largest == 3 * 2 + 2);
  const SchedulerStats stats = scheduler.stats();
  CHECK(stats.pictures == 3);
  CHECK(stats.answers == 2);
  CHECK(stats.image_tokens == 3 * janus->config().vq.tokens());
  CHECK(stats.text_tokens >= 2);
  CHECK(stats.rows_per_step() <= 8);
  CHECK(stats.most_cache_bytes <= stats.cache_budget);
}

TEST_CASE("what can never fit is refused with the numbers, and an answer with no room likewise") {
  const auto janus = LoadTiny(1);
  const size_t needed = PictureBytes(*janus, "a dog");
  const SchedulerOptions one{.pictures = 1, .answers = 1};
  Scheduler scheduler(*janus, WithCaches(*janus, needed - 1, one));
  const auto refused = scheduler.Submit(DrawRequest{"a dog", 1, {}}, {});
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().kind == ErrorKind::kUsage);
  CHECK_THAT(refused.error().message, Catch::Contains("a picture needs") && Catch::Contains("MB"));

  Scheduler exact(*janus, WithCaches(*janus, needed, one));
  const DrawRequest request{"a dog", 1, {}};
  CHECK(Draw(exact, {&request, 1}, nullptr).ok());
  CHECK(exact.stats().most_cache_bytes <= exact.stats().cache_budget);
}

// A question whose prompt is longer than a chunk, so that a later turn can take something over.
AnswerRequest LongQuestion() {
  AnswerRequest ask;
  ask.turns = {{0, "", ""}};
  for (int i = 0; i < 30; i++) ask.turns[0].question += " word" + std::to_string(i);
  ask.max_tokens = 2;
  return ask;
}

size_t KeptBytes(Janus& janus, const AnswerRequest& ask) {
  const auto length = static_cast<int64_t>(janus.EncodeTurns(ask.turns).ids.size());
  REQUIRE(length > kPrefillChunk);
  return KvPool::BytesFor(janus.config().llama, janus.kv_type(), length);
}

// Prompt tokens that are prefilled for it.
int64_t Prefilled(Scheduler& scheduler, const AnswerRequest& ask) {
  const int64_t before = scheduler.stats().prompt_tokens;
  const auto answer = AnswerOne(scheduler, ask, nullptr);
  REQUIRE(answer.ok());
  return scheduler.stats().prompt_tokens - before;
}

int64_t Prefilled(Scheduler& scheduler, const std::vector<DrawRequest>& requests) {
  const int64_t before = scheduler.stats().prompt_tokens;
  REQUIRE(Draw(scheduler, requests, nullptr).ok());
  return scheduler.stats().prompt_tokens - before;
}

// Whether an idle scheduler's caches come to so many bytes as its loop goes round, once no thread holds a
// request any more: on a busy machine the worker may be slow to let go of the last one.
bool ComesTo(Scheduler& scheduler, size_t bytes) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (scheduler.stats().cache_bytes != bytes && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    scheduler.RunBetweenSteps([] {});
  }
  return scheduler.stats().cache_bytes == bytes;
}

TEST_CASE("prefixes are kept while the batch is full, and go when it is memory that is missing") {
  const auto janus = LoadTiny(2);
  const std::string prompt = "zq xj", other = "zq xj kv";
  const auto length = [&](const std::string& what) {
    return static_cast<int64_t>(janus->EncodePrompt(what).conditional.size());
  };
  REQUIRE(length(prompt) != length(other));
  const DrawRequest first{prompt, 1, {}}, second{other, 1, {}};
  {
    // Two of `other` wait for each other, as one is drawn at a time; there is memory for all.
    Scheduler scheduler(*janus, {.pictures = 1});
    CHECK(Prefilled(scheduler, {first}) == 2 * length(prompt));
    CHECK(Prefilled(scheduler, {second, second, second}) == 2 * length(other));
    CHECK(Prefilled(scheduler, {first}) == 0);
  }
  {
    // Memory for one picture: what the other one left makes room.
    Scheduler scheduler(*janus,
                        WithCaches(*janus, PictureBytes(*janus, other), {.pictures = 1, .answers = 1}));
    CHECK(Prefilled(scheduler, {first}) == 2 * length(prompt));
    CHECK(Prefilled(scheduler, {second}) == 2 * length(other));
    CHECK(Prefilled(scheduler, {first}) == 2 * length(prompt));
    CHECK(scheduler.stats().most_cache_bytes <= scheduler.stats().cache_budget);
  }
  {
    // Memory for one picture and another one's prefixes: a picture never drops its own for its own sake.
    const size_t kept = 2 * KvPool::BytesFor(janus->config().llama, janus->kv_type(), length(prompt));
    Scheduler scheduler(
        *janus, WithCaches(*janus, PictureBytes(*janus, other) + kept, {.pictures = 4, .answers = 1}));
    CHECK(Prefilled(scheduler, {first}) == 2 * length(prompt));
    CHECK(Prefilled(scheduler, {second, second, second}) == 2 * length(other));
  }
}

TEST_CASE("a picture that waits for memory keeps the prefixes that it will use") {
  const auto janus = LoadTiny(2);
  const AnswerRequest ask = LongQuestion();
  const auto length = static_cast<int64_t>(janus->EncodeTurns(ask.turns).ids.size());
  const size_t answer = KvPool::BytesFor(janus->config().llama, janus->kv_type(), length + ask.max_tokens);
  // One page less than both at once need.
  const size_t page = KvPool::BytesFor(janus->config().llama, janus->kv_type(), 1);
  Scheduler scheduler(*janus, WithCaches(*janus, PictureBytes(*janus, "a dog") + answer - page,
                                         {.pictures = 1, .answers = 1}));
  Prefilled(scheduler, {{"a dog", 1, {}}});
  const int64_t before = scheduler.stats().prompt_tokens;
  std::vector<Outcome> outcomes(2);
  scheduler.RunBetweenSteps([&] {
    Asking(ask)(scheduler, outcomes[0]);
    Drawing({"a dog", 2, {}})(scheduler, outcomes[1]);
  });
  scheduler.WaitUntilIdle();
  REQUIRE(outcomes[0].answer->ok());
  REQUIRE(outcomes[1].picture->ok());
  CHECK(scheduler.stats().prompt_tokens - before == length);
}

TEST_CASE("a conversation's kept prompt counts while it is idle, and is given back to whoever needs it") {
  const auto janus = LoadTiny(2);
  AnswerRequest ask = LongQuestion();
  ask.cache = std::make_shared<PromptCache>();
  const auto length = static_cast<int64_t>(janus->EncodeTurns(ask.turns).ids.size());
  const size_t kept = KeptBytes(*janus, ask);
  const size_t answer =
      kept + KvPool::BytesFor(janus->config().llama, janus->kv_type(), length + ask.max_tokens);
  const std::string prompt = ask.turns[0].question;  // its picture needs more than an answer
  const size_t picture = PictureBytes(*janus, prompt);
  REQUIRE(picture > answer);
  const SchedulerOptions one{.pictures = 1, .answers = 1};
  const std::vector<DrawRequest> draw = {{prompt, 1, {}}};
  {
    Scheduler scheduler(*janus, WithCaches(*janus, picture + kept, one));
    CHECK(Prefilled(scheduler, ask) == length);
    Prefilled(scheduler, draw);
    CHECK(Prefilled(scheduler, ask) == length - kPrefillChunk);  // there was memory for both
  }
  {
    Scheduler scheduler(*janus, WithCaches(*janus, picture, one));
    CHECK(Prefilled(scheduler, ask) == length);
    CHECK(Prefilled(scheduler, ask) == length - kPrefillChunk);
    Prefilled(scheduler, draw);
    CHECK(Prefilled(scheduler, ask) == length);
    CHECK(scheduler.stats().most_cache_bytes <= scheduler.stats().cache_budget);
  }
}

TEST_CASE("many conversations share a budget that holds few of them") {
  const auto janus = LoadTiny(2);
  AnswerRequest ask = LongQuestion();
  const auto length = static_cast<int64_t>(janus->EncodeTurns(ask.turns).ids.size());
  const size_t kept = KeptBytes(*janus, ask);
  const size_t answer =
      kept + KvPool::BytesFor(janus->config().llama, janus->kv_type(), length + ask.max_tokens);
  Scheduler scheduler(*janus, WithCaches(*janus, answer + 2 * kept, {.pictures = 1, .answers = 1}));
  std::vector<AnswerRequest> conversations(8, ask);
  for (AnswerRequest& conversation : conversations) {
    conversation.cache = std::make_shared<PromptCache>();
    CHECK(Prefilled(scheduler, conversation) == length);
  }
  CHECK(Prefilled(scheduler, conversations[7]) == length - kPrefillChunk);  // the last ones are kept
  CHECK(Prefilled(scheduler, conversations[6]) == length - kPrefillChunk);
  CHECK(Prefilled(scheduler, conversations[0]) == length);
  CHECK(scheduler.stats().most_cache_bytes <= scheduler.stats().cache_budget);
}

TEST_CASE("a conversation may be let go while its requests run, and outlive the scheduler") {
  const auto janus = LoadTiny(2);
  AnswerRequest ask = LongQuestion();
  ask.max_tokens = 20;
  ask.cache = std::make_shared<PromptCache>();
  const size_t kept = KeptBytes(*janus, ask);
  {
    Scheduler scheduler(*janus, {});
    Prefilled(scheduler, ask);
    CHECK(ComesTo(scheduler, kept));

    AnswerRequest other = LongQuestion();
    other.cache = std::make_shared<PromptCache>();
    bool answered = false;
    scheduler.RunBetweenSteps([&] {
      REQUIRE(
          scheduler.Submit(other, {nullptr, [&](Result<Answer> answer) { answered = answer.ok(); }}).ok());
      other.cache = nullptr;
    });
    scheduler.WaitUntilIdle();
    CHECK(answered);
    // What nobody can come back to is forgotten.
    CHECK(ComesTo(scheduler, kept));
  }
  Scheduler scheduler(*janus, {});
  const auto length = static_cast<int64_t>(janus->EncodeTurns(ask.turns).ids.size());
  CHECK(Prefilled(scheduler, ask) == length);  // it is another scheduler's
  CHECK(Prefilled(scheduler, ask) == length - kPrefillChunk);
}

TEST_CASE("a request for a half that was not loaded is refused") {
  LoadOptions options;
  options.model = BIFRONS_TEST_DIR "/goldens/tiny-a/converted";
  const auto draws = Janus::Load(options);
  REQUIRE(draws.ok());
  AnswerRequest ask;
  ask.turns = {{0, "Hello?", ""}};
  CHECK_FALSE(Scheduler(**draws, {}).Submit(ask, {}).ok());
  options.parts = kUnderstandingParts;
  const auto sees = Janus::Load(options);
  REQUIRE(sees.ok());
  CHECK_FALSE(Scheduler(**sees, {}).Submit(DrawRequest{"a dog", 1, {}}, {}).ok());
}

TEST_CASE("an image that cannot be looked at fails its own request only") {
  const auto janus = LoadTiny(2);
  AnswerRequest good;
  good.turns = {{1, "What?", ""}};
  good.max_tokens = 5;
  const ImageFeatures seen = LookAt(*janus, NoiseImage(5, 5, 1));
  good.look = [&]() -> Result<std::vector<ImageFeatures>> { return std::vector<ImageFeatures>{seen}; };
  AnswerRequest bad = good, none = good;
  bad.look = []() -> Result<std::vector<ImageFeatures>> { return DataError("no image there"); };
  none.look = []() -> Result<std::vector<ImageFeatures>> { return std::vector<ImageFeatures>{}; };
  const auto outcomes =
      RunTogether(*janus, {Asking(good), Asking(bad), Asking(none), Asking(good)}, {0, 0, 0, 0});
  CHECK(outcomes[0].answer->ok());
  REQUIRE_FALSE(outcomes[1].answer->ok());
  CHECK(outcomes[1].answer->error().message == "no image there");
  CHECK_FALSE(outcomes[2].answer->ok());
  CHECK(outcomes[3].answer->ok());
}

TEST_CASE("cancelling is prompt and leaves nothing; every request is told once") {
  const auto janus = LoadTinyOnBoth();
  Scheduler scheduler(*janus, {.pictures = 2});
  std::atomic<int> told{0}, cancelled{0};
  std::vector<Scheduler::Id> ids;
  scheduler.RunBetweenSteps([&] {
    for (uint64_t i = 0; i < 50; i++) {
      const auto id =
          scheduler.Submit(DrawRequest{"a dog", i, {}}, {nullptr, [&](Result<DrawnPicture> picture) {
                                                           told++;
                                                           if (!picture.ok()) cancelled++;
                                                         }});
      REQUIRE(id.ok());
      ids.push_back(*id);
    }
  });
  for (const Scheduler::Id id : ids) scheduler.Cancel(id);
  for (const Scheduler::Id id : ids) scheduler.Cancel(id);
  scheduler.Cancel(12345);
  scheduler.WaitUntilIdle();
  CHECK(told == 50);
  CHECK(cancelled >= 40);  // those few that ran meanwhile may have been complete
  const DrawRequest request{"a dog", 1, {}};
  CHECK(Draw(scheduler, {&request, 1}, nullptr).ok());
}

TEST_CASE("a picture may be cancelled with its last token, when only its decoding is left") {
  const auto janus = LoadTinyOnBoth();
  Scheduler scheduler(*janus, {});
  std::optional<Result<DrawnPicture>> told;
  Scheduler::Id id = Scheduler::kNoId;
  scheduler.RunBetweenSteps([&] {
    const auto submitted = scheduler.Submit(
        DrawRequest{"a dog", 1, {}}, {[&](int64_t tokens) {
                                        if (tokens == scheduler.image_tokens()) scheduler.Cancel(id);
                                      },
                                      [&](Result<DrawnPicture> picture) { told = std::move(picture); }});
    REQUIRE(submitted.ok());
    id = *submitted;
  });
  scheduler.WaitUntilIdle();
  REQUIRE(told);
  REQUIRE_FALSE(told->ok());
  CHECK(Scheduler::IsCancelled(told->error()));
}

TEST_CASE("a scheduler that ends tells whoever is left") {
  const auto janus = LoadTinyOnBoth();
  std::atomic<int> told{0};
  {
    Scheduler scheduler(*janus, {.pictures = 2});
    for (uint64_t i = 0; i < 20; i++) {
      REQUIRE(scheduler.Submit(DrawRequest{"a dog", i, {}}, {nullptr, [&](Result<DrawnPicture>) { told++; }})
                  .ok());
    }
    AnswerRequest ask;
    ask.turns = {{1, "What?", ""}};
    ask.look = [&]() -> Result<std::vector<ImageFeatures>> {
      return std::vector<ImageFeatures>{LookAt(*janus, NoiseImage(5, 5, 1))};
    };
    REQUIRE(scheduler.Submit(ask, {nullptr, [&](Result<Answer>) { told++; }}).ok());
  }
  CHECK(told == 21);
}

// What a picture of several candidates has to be: each drawn and judged by itself.
DrawnPicture BestAlone(Janus& janus, const DrawRequest& request) {
  DrawnPicture best;
  for (int k = 0; k < request.best_of; k++) {
    const DrawRequest candidate{request.prompt, request.seed + static_cast<uint64_t>(k), request.sampling};
    Scheduler scheduler(janus, {});
    auto drawn = Draw(scheduler, {&candidate, 1}, nullptr);
    REQUIRE(drawn.ok());
    AnswerRequest judge = JudgeRequest(request.prompt);
    judge.images = {LookAt(janus, (*drawn)[0].image)};
    const auto judged = AnswerOne(scheduler, judge, nullptr);
    REQUIRE(judged.ok());
    std::vector<float> scores = best.choice.scores;
    const auto score = static_cast<float>(judged->log_probability);
    if (scores.empty() || score > *std::ranges::max_element(scores)) best = std::move((*drawn)[0]);
    scores.push_back(score);
    best.choice = {request.seed, std::move(scores)};
  }
  return best;
}

TEST_CASE("the best of several candidates is one request, and the one that is liked best by itself") {
  const auto janus = LoadTiny(2);
  for (const DrawRequest& request : {DrawRequest{"a dog", 3, {}, 4}, DrawRequest{"zq xj", 8, {}, 2}}) {
    const DrawnPicture right = BestAlone(*janus, request);
    // Fewer at once than there are candidates, and more.
    for (const int64_t pictures : {1, 16}) {
      INFO(request.prompt << ", " << pictures);
      Scheduler scheduler(*janus, {.pictures = pictures});
      int64_t tokens = 0, told = 0;
      std::optional<Result<DrawnPicture>> best;
      REQUIRE(scheduler
                  .Submit(request, {[&](int64_t count) { CHECK(count == ++tokens); },
                                    [&](Result<DrawnPicture> picture) {
                                      told++;
                                      best = std::move(picture);
                                    }})
                  .ok());
      scheduler.WaitUntilIdle();
      CHECK(told == 1);
      CHECK(tokens == request.best_of * scheduler.image_tokens());
      REQUIRE((best && best->ok()));
      CHECK((*best)->seed == right.seed);
      CHECK((*best)->codes == right.codes);
      CHECK(((*best)->image.rgb == right.image.rgb));
      CHECK((*best)->choice.scores == right.choice.scores);
      CHECK((*best)->choice.first_seed == request.seed);
      // The candidates share the prompt's prefill.
      AnswerRequest judge = JudgeRequest(request.prompt);
      const auto drawn = 2 * janus->EncodePrompt(request.prompt).conditional.size();
      const auto judged = janus->EncodeTurns(judge.turns).ids.size() * static_cast<size_t>(request.best_of);
      CHECK(scheduler.stats().prompt_tokens == static_cast<int64_t>(drawn + judged));
      CHECK(scheduler.stats().most_cache_bytes <= scheduler.stats().cache_budget);
    }
  }
}

TEST_CASE("of candidates that are liked equally the earliest stays") {
  const auto janus = LoadTiny(2);
  Scheduler scheduler(*janus, {});
  const DrawRequest greedy{"a dog", 3, {.temperature = 0}, 4};
  const auto drawn = Draw(scheduler, {&greedy, 1}, nullptr);
  REQUIRE(drawn.ok());
  CHECK((*drawn)[0].seed == 3);
  CHECK((*drawn)[0].choice.scores == std::vector<float>(4, (*drawn)[0].choice.scores[0]));
}

TEST_CASE("candidates that cannot be drawn or judged are refused with what to do") {
  const auto janus = LoadTiny(1), draws = bifrons::LoadTiny(1, {});
  const auto refusal = [](Janus& model, const DrawRequest& request, const SchedulerOptions& options = {}) {
    const auto refused = Scheduler(model, options).Submit(request, {});
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().kind == ErrorKind::kUsage);
    return refused.error().message;
  };
  CHECK_THAT(refusal(*draws, {"a dog", 1, {}, 2}),
             Catch::Contains("understanding half, which was not loaded"));
  CHECK_THAT(refusal(*janus, {"a dog", 1, {}, 0}), Catch::Contains("from 1 to 1000"));
  CHECK_THAT(refusal(*janus, {"a dog", 1, {}, 1001}), Catch::Contains("best_of is 1001"));
  CHECK_THAT(refusal(*janus, {"a dog", static_cast<uint64_t>(kMaxSeed), {}, 2}), Catch::Contains("seed"));
  // Memory for a picture, and not for looking at it.
  const auto options = WithCaches(*janus, PictureBytes(*janus, "a dog"), {.pictures = 1, .answers = 1});
  CHECK(Scheduler(*janus, options).Submit({"a dog", 1, {}}, {nullptr, [](const auto&) {}}).ok());
  CHECK_THAT(refusal(*janus, {"a dog", 1, {}, 2}, options), Catch::Contains("judging a picture needs"));
}

TEST_CASE("a choice ends once, whatever ends it") {
  const auto janus = LoadTinyOnBoth();
  enum class Way { kCancelBefore, kCancelInside, kCancelLate, kThrow, kEnd };
  for (const Way way : {Way::kCancelBefore, Way::kCancelInside, Way::kCancelLate, Way::kThrow, Way::kEnd}) {
    INFO("way " << static_cast<int>(way));
    std::atomic<int> told{0};
    std::string reason;
    Outcome other;
    {
      Scheduler scheduler(*janus, {.pictures = 2});
      Scheduler::Id id = Scheduler::kNoId;
      const int64_t one = scheduler.image_tokens();
      scheduler.RunBetweenSteps([&] {
        const auto on_tokens = [&](int64_t tokens) {
          if (way == Way::kThrow && tokens == 3) throw std::runtime_error("boom");
          if (way == Way::kCancelInside && tokens == 5) scheduler.Cancel(id);
          if (way == Way::kCancelLate && tokens == 6 * one) scheduler.Cancel(id);
        };
        const auto submitted = scheduler.Submit({"a dog", 1, {}, 6}, {on_tokens, [&](Result<DrawnPicture> p) {
                                                                        told++;
                                                                        if (!p.ok())
                                                                          reason = p.error().message;
                                                                      }});
        REQUIRE(submitted.ok());
        id = *submitted;
        if (way == Way::kCancelBefore) scheduler.Cancel(id);
        if (way != Way::kEnd) Drawing({"a cat", 1, {}})(scheduler, other);
      });
      if (way != Way::kEnd) scheduler.WaitUntilIdle();
    }
    CHECK(told == 1);
    CHECK(reason == (way == Way::kThrow ? "boom" : Scheduler::kCancelled));
    if (way != Way::kEnd) CHECK(other.picture->ok());
  }
}

}  // namespace
}  // namespace bifrons
