// The engine on a device that does its work when somebody waits, its queues' in any order that their tickets
// allow, and whose memory nobody sees: what it draws and says is what the ref device does.
#include <cstring>

#include "src/engine/image_codes.h"
#include "src/engine/judge.h"
#include "src/engine/trace.h"
#include "tests/deferred_device.h"
#include "tests/test_pictures.h"
#include "tests/together.h"

namespace bifrons {
namespace {

constexpr ModelParts kAllParts{.vq_encoder = true, .understanding = true};

std::unique_ptr<Janus> LoadTinyOn(std::unique_ptr<Device> device) {
  return LoadTiny(std::move(device), kAllParts);
}

AnswerRequest Question(const std::string& text, float temperature) {
  AnswerRequest ask;
  ask.turns = {{0, text, ""}};
  ask.sampling.temperature = temperature;
  ask.seed = 7;
  ask.max_tokens = 9;
  return ask;
}

// Pictures, some of one prompt and more of them than there are at once, and answers, one about an image.
std::vector<Outcome> Everything(Janus& janus) {
  AnswerRequest seen = Question("What is this?", 0);
  seen.turns[0].images = 1;
  seen.look = [&janus]() -> Result<std::vector<ImageFeatures>> {
    return std::vector<ImageFeatures>{LookAt(janus, NoiseImage(20, 9, 3))};
  };
  return RunTogether(
      janus,
      {Drawing({"a dog", 1, {}}), Asking(seen), Drawing({"a dog", 2, {.top_k = 9}}),
       Asking(Question("Hello?", 0.8f)), Drawing({"two cats", 3, {.guidance = 2}, 3}), Drawing({"", 4, {}})},
      {0, 0, 0, 2, 3, 3}, {.pictures = 2});
}

bool Same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.data(), b.data(), a.bytes()) == 0;
}

TEST_CASE("Pictures and answers are those of the ref device, in whatever order a device works") {
  const auto ref = LoadTinyOn(RefDevice(2));
  const auto expected = Everything(*ref);
  for (const uint64_t seed : {1, 2, 3}) {
    INFO("seed " << seed);
    const auto late = LoadTinyOn(MakeDeferredDevice(seed, 2));
    const auto outcomes = Everything(*late);
    for (size_t i = 0; i < outcomes.size(); i++) {
      INFO("request " << i);
      if (expected[i].picture) {
        REQUIRE(expected[i].picture->ok());
        REQUIRE(outcomes[i].picture->ok());
        CHECK((*outcomes[i].picture)->codes == (*expected[i].picture)->codes);
        CHECK(((*outcomes[i].picture)->image.rgb == (*expected[i].picture)->image.rgb));
      } else {
        REQUIRE(expected[i].answer->ok());
        REQUIRE(outcomes[i].answer->ok());
        CHECK((*outcomes[i].answer)->tokens == (*expected[i].answer)->tokens);
      }
    }
  }
}

TEST_CASE("Work that a device loses fails those who are in it, and nobody after them") {
  const auto late = LoadTinyOn(MakeDeferredDevice(5, 2));
  const std::vector<Submit> requests = {Drawing({"a dog", 1, {}}), Drawing({"two cats", 3, {.guidance = 2}}),
                                        Asking(Question("Hello?", 0.8f))};
  const auto expected = RunTogether(*late, requests, {0, 0, 0});
  std::vector<Outcome> first(requests.size()), second(requests.size());
  int steps = 0;
  SchedulerOptions options;
  options.on_step = [&] {
    if (++steps == 3) LoseWork(late->device());
  };
  Scheduler scheduler(*late, options);
  scheduler.RunBetweenSteps([&] {
    for (size_t i = 0; i < requests.size(); i++) requests[i](scheduler, first[i]);
  });
  scheduler.WaitUntilIdle();
  for (const Outcome& outcome : first) {
    REQUIRE((outcome.picture || outcome.answer));
    const Error* error = outcome.picture ? &outcome.picture->error() : &outcome.answer->error();
    CHECK(error->message.starts_with("out of memory; "));
  }
  // The same prompts: nothing that was kept for them may come of lost work.
  for (size_t i = 0; i < requests.size(); i++) requests[i](scheduler, second[i]);
  scheduler.WaitUntilIdle();
  for (size_t i = 0; i < 2; i++) {
    REQUIRE(second[i].picture->ok());
    CHECK((*second[i].picture)->codes == (*expected[i].picture)->codes);
  }
  REQUIRE(second[2].answer->ok());
  CHECK((*second[2].answer)->tokens == (*expected[2].answer)->tokens);
}

TEST_CASE("Traces, judgements and codes of images are those of the ref device") {
  const auto ref = LoadTinyOn(RefDevice(2)), late = LoadTinyOn(MakeDeferredDevice(4, 2));
  const Image image = NoiseImage(13, 30, 5);
  const std::vector<int32_t> codes = EncodeImage(*ref, FitForCodes(*ref, image));
  CHECK(EncodeImage(*late, FitForCodes(*late, image)) == codes);
  CHECK((DecodeCodes(*late, codes)->rgb == DecodeCodes(*ref, codes)->rgb));

  const auto expected = TraceCodes(*ref, "a dog", codes), trace = TraceCodes(*late, "a dog", codes);
  REQUIRE((expected.ok() && trace.ok()));
  CHECK(Same(trace->logits_conditional, expected->logits_conditional));
  CHECK(Same(trace->logits_unconditional, expected->logits_unconditional));
  CHECK(Same(trace->pixels, expected->pixels));

  const auto seen = TraceAnswer(*ref, {&image, 1}, "What?"), again = TraceAnswer(*late, {&image, 1}, "What?");
  REQUIRE((seen.ok() && again.ok()));
  CHECK(Same(again->vision, seen->vision));
  CHECK(Same(again->aligned, seen->aligned));
  CHECK(again->logits == seen->logits);

  // Of an image whose rows nobody has waited for.
  const auto judged = [&](Janus& janus) {
    AnswerRequest request = JudgeRequest("a small dog");
    request.images = {LookAt(janus, image)};
    Scheduler scheduler(janus, {});
    return AnswerOne(scheduler, request, nullptr)->log_probability;
  };
  CHECK(judged(*late) == judged(*ref));
}

}  // namespace
}  // namespace bifrons
