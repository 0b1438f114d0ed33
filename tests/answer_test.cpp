// An answer depends on its own request only: not on the batch, when it joined, the thread count, or a cache
// that an earlier turn left.
#include "src/engine/answer.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "tests/deferred_device.h"
#include "tests/test_pictures.h"
#include "tests/together.h"

namespace bifrons {
namespace {

std::unique_ptr<Janus> LoadTiny(int threads) { return bifrons::LoadTiny(threads, kUnderstandingParts); }

// Seven conversations: no image, one, two; greedy and sampled; limits of 1 to 23 tokens.
std::vector<AnswerRequest> Requests(Janus& janus) {
  const auto look = [&](int64_t w, int64_t h, uint32_t seed) {
    return LookAt(janus, NoiseImage(w, h, seed));
  };
  std::vector<AnswerRequest> requests(7);
  requests[0].turns = {{1, "What is this?", ""}};
  requests[0].images = {look(20, 20, 1)};
  requests[1].turns = {{0, "Hello, who are you and what can you do for me today?", ""}};
  requests[2].turns = {{2, "Which of these two is bigger, older, greener?", ""}};
  requests[2].images = {look(7, 31, 2), look(1, 1, 3)};
  requests[3].turns = {{1, "", ""}};
  requests[3].images = {look(64, 3, 4)};
  requests[4].turns = {{1, "What?", "a dog"}, {1, "And this?", ""}};
  requests[4].images = {look(5, 5, 5), look(40, 40, 6)};
  requests[5] = requests[0];
  requests[5].sampling.temperature = 1.5f, requests[5].seed = 77;
  requests[6] = requests[0];
  requests[6].sampling = {.guidance = 1, .temperature = 0.7f, .top_k = 9, .top_p = 0.9f, .min_p = 0.01f};
  const int64_t limits[] = {23, 9, 14, 1, 17, 20, 11};
  for (size_t i = 0; i < requests.size(); i++) requests[i].max_tokens = limits[i];
  return requests;
}

std::vector<Answer> EachAlone(Janus& janus) {
  std::vector<Answer> alone;
  for (const AnswerRequest& request : Requests(janus)) alone.push_back(AnswerAlone(janus, request));
  return alone;
}

// Requests' answers in batches that they join every so many steps.
void CheckBatches(Janus& janus, const std::vector<Answer>& alone, int every) {
  const auto requests = Requests(janus);
  for (const auto& order : {std::vector<size_t>{0, 1, 2, 3, 4, 5, 6}, {6, 3, 0, 5, 2, 4, 1}}) {
    const auto together = AnswerTogether(janus, requests, order, every);
    for (size_t i = 0; i < together.size(); i++) {
      INFO("request " << i << ", one every " << every << " steps");
      CHECK(together[i].tokens == alone[i].tokens);
      CHECK(together[i].text == alone[i].text);
      CHECK(together[i].complete == alone[i].complete);
    }
  }
}

TEST_CASE("An answer is the same alone, in any batch, joining at any step, with any thread count") {
  const auto alone = EachAlone(*LoadTiny(1));
  CHECK(alone[0].tokens.size() > 1);
  CHECK(alone[5].tokens != alone[0].tokens);
  CHECK(alone[3].tokens.size() <= 1);
  for (const int threads : {1, 2, 3}) {
    INFO(threads << " threads");
    const auto janus = LoadTiny(threads);
    for (const int every : {0, 1, 4}) CheckBatches(*janus, alone, every);
  }
}

TEST_CASE("An answer is the ref device's on one that works late") {
  const auto alone = EachAlone(*bifrons::LoadTiny(RefDevice(2), kUnderstandingParts));
  for (const int every : {1, 4}) {
    const auto seed = static_cast<uint64_t>(every);
    CheckBatches(*bifrons::LoadTiny(MakeDeferredDevice(seed, 2), kUnderstandingParts), alone, every);
  }
}

TEST_CASE("A later turn is answered as if the conversation were new") {
  const auto janus = LoadTiny(2);
  // With the system prompt long enough that a whole chunk can be taken over.
  std::string story;
  for (int i = 0; i < 14; i++) story += " word" + std::to_string(i);
  AnswerRequest request;
  request.images = {LookAt(*janus, NoiseImage(9, 9, 1))};
  request.max_tokens = 8;
  const auto cache = std::make_shared<PromptCache>();
  Scheduler scheduler(*janus, {});
  const std::vector<Turn> turns = {{1, story, "one answer"}, {0, "and" + story, "no"}, {1, "last", ""}};
  for (size_t n = 1; n <= turns.size(); n++) {
    request.turns.assign(turns.begin(), turns.begin() + static_cast<std::ptrdiff_t>(n));
    request.turns.back().answer.clear();
    if (n == 3) request.images.push_back(LookAt(*janus, NoiseImage(3, 5, 2)));
    if (!CheckContext(*janus, request.turns).ok())
      FAIL("the test's conversation does not fit the tiny model");
    request.cache = nullptr;
    const auto a = AnswerAlone(*janus, request).tokens;
    request.cache = cache;
    const int64_t before = scheduler.stats().prompt_tokens;
    const auto b = AnswerOne(scheduler, request, nullptr);
    REQUIRE(b.ok());
    CHECK(a == b->tokens);
    CHECK(a.size() > 0);
    const int64_t prefilled = scheduler.stats().prompt_tokens - before;
    CHECK(prefilled <= b->prompt_tokens);
    if (n > 1) CHECK(prefilled <= b->prompt_tokens - kPrefillChunk);  // whole chunks were taken over
  }
}

TEST_CASE("Another number of images than the messages ask about is refused with both numbers") {
  const auto janus = LoadTiny(1);
  Scheduler scheduler(*janus, {});
  const ImageFeatures seen = LookAt(*janus, NoiseImage(9, 9, 1));
  AnswerRequest request;
  request.turns = {{2, "What are these?", ""}};
  request.max_tokens = 2;
  for (const size_t images : {0, 1, 3}) {
    request.images.assign(images, seen);
    const std::string numbers = "has " + std::to_string(images) + (images == 1 ? " image" : " images") +
                                ", but its messages ask about 2";
    const auto submitted = scheduler.Submit(request, {nullptr, [](Result<Answer>) { FAIL("it runs"); }});
    REQUIRE_FALSE(submitted.ok());
    CHECK(submitted.error().kind == ErrorKind::kUsage);
    CHECK_THAT(submitted.error().message, Catch::Contains(numbers));
    CHECK_THAT(FirstTokenLogits(*janus, request).error().message, Catch::Contains(numbers));
    AnswerRequest scored = request;
    scored.scored_text = "dogs";
    CHECK_THAT(scheduler.Submit(scored, {}).error().message, Catch::Contains(numbers));

    // A looker that returns them fails its own request.
    AnswerRequest looking = request;
    looking.images.clear();
    looking.look = [&]() -> Result<std::vector<ImageFeatures>> { return request.images; };
    const auto answered = AnswerOne(scheduler, looking, nullptr);
    REQUIRE_FALSE(answered.ok());
    CHECK(answered.error().kind == ErrorKind::kUsage);
    CHECK_THAT(answered.error().message, Catch::Contains(numbers));
  }
  request.images.assign(2, seen);
  CHECK(AnswerOne(scheduler, request, nullptr).ok());
}

// Of the same, all tokens in one pass.
double LogProbability(Janus& janus, const AnswerRequest& request, const std::string& text) {
  const LlamaConfig& config = janus.config().llama;
  const Conversation prompt = janus.EncodeTurns(request.turns);
  const std::vector<int32_t> tokens = janus.tokenizer().Encode(" " + text);
  const auto length = static_cast<int64_t>(prompt.ids.size()), count = static_cast<int64_t>(tokens.size());
  KvCache cache(janus.MakeKvPool(), length + count);
  const DeviceTensor x = janus.device().NewTensor(DType::kF32, {count, config.hidden});
  Prefill(janus, prompt.ids, PlaceImages(prompt, request.images), 0, cache, x.view().Rows(0, 1));
  const View rest = x.view().Rows(1, count - 1);
  janus.llama().EmbedText(janus.steps(), Uploaded(janus, janus.steps(), tokens).view().Rows(0, count - 1),
                          rest);
  const SequenceSpan span{&cache, length, count - 1, RowClass::kDecode};
  janus.llama().Forward(janus.steps(), {&span, 1}, rest);
  const DeviceTensor logits = janus.device().NewTensor(DType::kF32, {count, config.vocabulary});
  janus.TextLogits(janus.steps(), x.view(), logits.view());
  const Tensor on_host = janus.steps().Fetch(logits.view());
  double total = 0;
  for (int64_t i = 0; i < count; i++) {
    const auto row =
        std::span(on_host.as<float>() + i * config.vocabulary, static_cast<size_t>(config.vocabulary));
    double sum = 0;
    for (const float l : row) sum += std::exp(static_cast<double>(l));
    total += static_cast<double>(row[static_cast<size_t>(tokens[static_cast<size_t>(i)])]) - std::log(sum);
  }
  return total;
}

TEST_CASE("The probability of a text is that of its tokens one after another") {
  const auto janus = LoadTiny(2);
  AnswerRequest request;
  request.turns = {{1, "What is this?", ""}};
  request.images = {LookAt(*janus, NoiseImage(8, 8, 3))};
  // A longer text is less likely than its beginning, where the beginning's tokens are the longer one's first.
  const std::string text = "zq xj kv 7";
  const auto ids = [&](size_t n) { return janus->tokenizer().Encode(" " + text.substr(0, n)); };
  Scheduler scheduler(*janus, {});
  const auto probability = [&](const std::string& scored) {
    request.scored_text = scored;
    const auto answer = AnswerOne(scheduler, request, nullptr);
    REQUIRE(answer.ok());
    CHECK(answer->tokens.empty());
    return answer->log_probability;
  };
  const double whole = probability(text);
  int compared = 0;
  for (size_t n = 0; n < text.size(); n++) {
    const auto some = ids(n), all = ids(text.size());
    if (!std::equal(some.begin(), some.end(), all.begin())) continue;
    const double part = probability(text.substr(0, n));
    CHECK(part < 0);
    CHECK(whole < part);
    compared++;
  }
  CHECK(compared > 3);
  // All one-token texts together are at most certain.
  double sum = 0;
  const auto logits = FirstTokenLogits(*janus, request);
  REQUIRE(logits.ok());
  const float largest = *std::max_element(logits->begin(), logits->end());
  for (const float l : *logits) sum += std::exp(static_cast<double>(l - largest));
  const int32_t space = janus->tokenizer().Encode(" ")[0];
  // Of more tokens than a step takes.
  for (const std::string& longer : {text + text, text + text + text + text + text + text + text}) {
    REQUIRE(janus->tokenizer().Encode(longer).size() > 16);
    CHECK(probability(longer) == Approx(LogProbability(*janus, request, longer)).epsilon(1e-8));
  }
  CHECK(probability("") ==
        Approx((*logits)[static_cast<size_t>(space)] - largest - std::log(sum)).epsilon(1e-6));
}

TEST_CASE("A conversation that does not fit is refused with the numbers") {
  const auto janus = LoadTiny(1);
  const std::vector<Turn> turns = {{1000, "Which is which?", ""}};
  const Status status = CheckContext(*janus, turns);
  REQUIRE_FALSE(status.ok());
  CHECK(status.error().kind == ErrorKind::kUsage);
  CHECK(status.error().message.find("1000 images of " + std::to_string(janus->config().vision.patches())) !=
        std::string::npos);
  CHECK(status.error().message.find(std::to_string(janus->config().llama.max_positions)) !=
        std::string::npos);
}

}  // namespace
}  // namespace bifrons
