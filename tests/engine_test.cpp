// A picture depends on its own request only: not on the batch, its order, the thread count, or earlier
// pictures.
#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "src/bifrons.h"
#include "src/engine/scheduler.h"
#include "src/engine/trace.h"
#include "tests/sample_token.h"
#include "tests/together.h"

namespace bifrons {
namespace {

const std::string kGoldens = BIFRONS_TEST_DIR "/goldens/";

std::unique_ptr<Janus> LoadTiny(int threads, const std::string& backend = "cpu") {
  LoadOptions options;
  options.model = kGoldens + "tiny-a/converted";
  options.device = backend;
  options.compute = DType::kF32;
  options.threads = threads;
  auto janus = Janus::Load(options);
  if (!janus.ok()) FAIL(janus.error().message);
  return std::move(*janus);
}

std::vector<DrawRequest> Requests() {
  const std::string prompts[] = {"a dog", "", "two red apples on a blue background, seen from above", "a dog",
                                 "x"};
  std::vector<DrawRequest> requests;
  for (uint64_t i = 0; i < 5; i++) {
    DrawRequest r{prompts[i], 11 * i, {}};
    r.sampling.guidance = 1.5f + static_cast<float>(i);
    r.sampling.temperature = i == 4 ? 0 : 1;
    r.sampling.top_k = i == 2 ? 7 : 0;
    requests.push_back(r);
  }
  return requests;
}

std::vector<DrawnPicture> MustDraw(Janus& janus, std::span<const DrawRequest> requests) {
  Scheduler scheduler(janus, {});
  auto pictures = Draw(scheduler, requests, nullptr);
  REQUIRE(pictures.ok());
  return std::move(*pictures);
}

void CheckSame(const DrawnPicture& a, const DrawnPicture& b) {
  CHECK(a.codes == b.codes);
  CHECK((a.image.rgb == b.image.rgb));
}

TEST_CASE("A picture is the same alone, in any batch and order, with any thread count") {
  const auto requests = Requests();
  const auto one_thread = LoadTiny(1);
  std::vector<DrawnPicture> alone;
  for (const DrawRequest& request : requests) {
    auto drawn = MustDraw(*one_thread, {&request, 1});
    alone.push_back(std::move(drawn[0]));
  }
  std::mt19937 random(3);
  for (const int threads : {1, 2, 3}) {
    const auto janus = LoadTiny(threads);
    std::vector<size_t> order = {0, 1, 2, 3, 4};
    for (int round = 0; round < 3; round++) {
      std::vector<DrawRequest> batch;
      for (const size_t i : order) batch.push_back(requests[i]);
      const auto drawn = MustDraw(*janus, batch);
      for (size_t i = 0; i < order.size(); i++) {
        CAPTURE(threads, round, order[i]);
        CheckSame(drawn[i], alone[order[i]]);
      }
      std::shuffle(order.begin(), order.end(), random);
      order.resize(order.size() - 1);
    }
  }
}

TEST_CASE("Teacher forcing reproduces the draw: greedy codes are the argmax of their own guided logits") {
  const auto janus = LoadTiny(2);
  DrawRequest request{"a dog", 0, {}};
  request.sampling.temperature = 0;
  const auto drawn = MustDraw(*janus, {&request, 1});
  const auto trace = TraceCodes(*janus, request.prompt, drawn[0].codes);
  REQUIRE(trace.ok());
  const int64_t codebook = janus->config().vq.codebook_size;
  for (size_t i = 0; i < drawn[0].codes.size(); i++) {
    const float* c = trace->logits_conditional.as<float>() + static_cast<int64_t>(i) * codebook;
    const float* u = trace->logits_unconditional.as<float>() + static_cast<int64_t>(i) * codebook;
    CHECK(SampleToken(c, u, codebook, request.sampling, {}).token == drawn[0].codes[i]);
  }
  const DeviceTensor pixels = janus->device().PackTensor(trace->pixels.view());
  const DeviceTensor bytes = janus->device().NewTensor(DType::kU8, pixels.shape());
  janus->images().ToBytes(pixels.view(), bytes.view());
  const Tensor rgb = janus->images().Fetch(bytes.view());
  CHECK((std::vector<uint8_t>(rgb.as<uint8_t>(), rgb.as<uint8_t>() + rgb.bytes()) == drawn[0].image.rgb));
}

TEST_CASE("The callback sees progress and can stop; then nothing is left") {
  const auto janus = LoadTiny(1);
  const std::vector<DrawRequest> requests(3, {"a dog", 1, {}});
  SchedulerOptions options;
  // On a busy machine this thread may not run for as long as three small pictures take.
  options.on_step = [] { std::this_thread::sleep_for(std::chrono::milliseconds(10)); };
  Scheduler scheduler(*janus, options);
  DrawProgress last;
  const auto stop = [&](const DrawProgress& p) {
    CHECK(p.tokens >= last.tokens);
    CHECK(p.share() <= 1);
    last = p;
    return p.tokens < 4;
  };
  const auto stopped = Draw(scheduler, requests, stop);
  REQUIRE_FALSE(stopped.ok());
  CHECK(last.tokens >= 4);
  CHECK(last.all_tokens == 3 * janus->config().vq.tokens());
  scheduler.WaitUntilIdle();
  CHECK(scheduler.stats().pictures == 0);
  // It goes on serving.
  CHECK(Draw(scheduler, std::span(requests).first(1), nullptr).ok());
}

TEST_CASE("Who stops a drawing may wait for the pictures whose tokens are complete") {
  const auto janus = LoadTiny(1);
  const std::vector<DrawRequest> requests(6, {"a dog", 1, {}});
  SchedulerOptions options;
  options.pictures = 2;  // so that some are complete before the rest
  options.on_step = [] { std::this_thread::sleep_for(std::chrono::milliseconds(10)); };
  for (const int seconds : {0, 60}) {
    Scheduler scheduler(*janus, options);
    int64_t complete = 0, taken = 0;
    const auto stop = [&](const DrawProgress& p) {
      CHECK(complete == 0);  // it is not asked again
      complete = p.complete;
      return complete == 0;
    };
    const auto take = [&](size_t i, const DrawnPicture&) {
      CHECK(i == static_cast<size_t>(taken));
      taken++;
      return Status();
    };
    CHECK_FALSE(DrawEach(scheduler, requests, stop, take, seconds).ok());
    CHECK(complete > 0);
    CHECK(taken == (seconds > 0 ? complete : 0));
  }
}

TEST_CASE("A prompt that cannot fit is refused with the numbers; codes outside the codebook by position") {
  const auto janus = LoadTiny(1);
  std::string prompt;
  for (int64_t i = 0; i < janus->config().llama.max_positions; i++) prompt += "x y ";
  const Status status = CheckPrompt(*janus, prompt);
  REQUIRE_FALSE(status.ok());
  CHECK(status.error().kind == ErrorKind::kUsage);
  CHECK(status.error().message.find(std::to_string(janus->config().llama.max_positions)) !=
        std::string::npos);

  std::vector<int32_t> codes = {0, static_cast<int32_t>(janus->config().vq.codebook_size)};
  const auto trace = TraceCodes(*janus, "a dog", codes);
  REQUIRE_FALSE(trace.ok());
  CHECK(trace.error().message.find("codes[1]") != std::string::npos);
}

TEST_CASE("ref draws too, and the same picture alone and in a batch") {
  const auto janus = LoadTiny(2, "ref");
  const auto requests = Requests();
  const auto batch = MustDraw(*janus, std::span(requests).first(2));
  for (size_t i = 0; i < 2; i++) CheckSame(MustDraw(*janus, {&requests[i], 1})[0], batch[i]);
}

// ---- bifrons.h

std::unique_ptr<Engine> LoadEngine(bool understanding = true) {
  EngineOptions options;
  options.model = kGoldens + "tiny-a/converted";
  options.dtype = "f32", options.threads = 2, options.understanding = understanding;
  EngineError error;
  auto engine = Engine::Load(options, &error);
  if (!engine) FAIL(error.message);
  return engine;
}

DrawOptions ADog(int images, uint64_t seed = 1, int best_of = 1) {
  DrawOptions options;
  options.prompt = "a dog", options.images = images, options.seed = seed, options.best_of = best_of;
  return options;
}

// What is told of a request. The engine's threads write, who waited for the end reads; Catch is one thread's.
struct Heard {
  std::map<int, Picture> pictures;
  std::optional<EngineError> error;
  std::string text;
  int ends = 0, updates = 0;
  double share = 0;
  bool orderly = true;
  std::map<int, std::vector<int32_t>> codes;  // the last ones of picture `image`

  DrawCallbacks Drawing() {
    return {[this](const DrawUpdate& update) {
              updates++;
              orderly &= update.share >= share && update.share <= 1 && ends == 0;
              share = update.share;
              codes[update.image].assign(update.codes.begin(), update.codes.end());
            },
            [this](int image, Picture picture) {
              orderly &= pictures.emplace(image, std::move(picture)).second && ends == 0;
            },
            [this](const EngineError* why) { End(why); }};
  }
  AskCallbacks Asking() {
    return {[this](const std::string& more) { text += more; },
            [this](const EngineError* why, const std::string& answer) {
              orderly &= answer == text;
              End(why);
            }};
  }
  void End(const EngineError* why) {
    ends++;
    if (why) error = *why;
  }
};

TEST_CASE("what is submitted, from any thread and all at once, is what waiting for it gives") {
  std::vector<Heard> heard(12);
  const auto engine = LoadEngine();
  std::string message;
  const auto three = engine->Draw(ADog(3), nullptr, &message);
  const auto chosen = engine->Draw(ADog(2, 5, 3), nullptr, &message);
  QuestionOptions question;
  question.max_tokens = 20;
  std::string answer;
  REQUIRE(engine->Ask(question, nullptr, &answer, &message));
  REQUIRE((three.size() == 3 && chosen.size() == 2));

  const auto submit = [&](size_t first) {
    for (size_t i = first; i < heard.size(); i += 2) {
      const RequestId id = i % 3 == 0   ? engine->Submit(ADog(3), heard[i].Drawing(), nullptr)
                           : i % 3 == 1 ? engine->Submit(ADog(2, 5, 3), heard[i].Drawing(), nullptr)
                                        : engine->Submit(question, heard[i].Asking(), nullptr);
      if (id != kNoRequest && i % 4 == 0) engine->Wait(id);
    }
  };
  std::thread other(submit, 1);
  submit(0);
  other.join();
  engine->WaitForAll();
  for (size_t i = 0; i < heard.size(); i++) {
    INFO("request " << i);
    CHECK(heard[i].ends == 1);
    CHECK(heard[i].orderly);
    CHECK_FALSE(heard[i].error);
    if (i % 3 == 2) {
      CHECK(heard[i].text == answer);
      continue;
    }
    const std::vector<Picture>& right = i % 3 == 0 ? three : chosen;
    REQUIRE(heard[i].pictures.size() == right.size());
    CHECK(heard[i].updates > 0);
    for (size_t k = 0; k < right.size(); k++) {
      const Picture& picture = heard[i].pictures[static_cast<int>(k)];
      CHECK(picture.codes == right[k].codes);
      CHECK((picture.rgb == right[k].rgb));
      CHECK(picture.parameters == right[k].parameters);
      CHECK(picture.seed == right[k].seed);
      CHECK(picture.scores.size() == (i % 3 == 0 ? 0 : 3));
      const std::vector<int32_t>& codes = heard[i].codes[static_cast<int>(k)];
      if (i % 3 > 0 || codes.empty()) continue;
      REQUIRE(codes.size() < picture.codes.size());
      CHECK(std::equal(codes.begin(), codes.end(), picture.codes.begin()));
    }
  }
  // As the scheduler, and `generate` with it, chooses.
  const auto janus = bifrons::LoadTiny(1, {.understanding = true});
  const DrawRequest request{"a dog", 8, {.guidance = janus->config().guidance_default}, 3};
  const auto drawn = MustDraw(*janus, {&request, 1});
  CHECK(drawn[0].codes == chosen[1].codes);
  CHECK(drawn[0].choice.scores == chosen[1].scores);
}

TEST_CASE("a submitted request can be cancelled, by its own callbacks too, and throws for itself alone") {
  Heard inside, outside, thrown, picture_thrown, ask_thrown, good;
  const auto engine = LoadEngine();
  auto callbacks = inside.Drawing();
  callbacks.on_update = [&](const DrawUpdate& update) {
    if (update.codes.size() > 2) engine->Cancel(update.id);
  };
  REQUIRE(engine->Submit(ADog(40), callbacks, nullptr) != kNoRequest);
  callbacks = thrown.Drawing();
  callbacks.on_update = [](const DrawUpdate&) { throw std::runtime_error("mine"); };
  REQUIRE(engine->Submit(ADog(2), callbacks, nullptr) != kNoRequest);
  callbacks = picture_thrown.Drawing();
  callbacks.on_picture = [](int, const Picture&) { throw std::runtime_error("mine"); };
  callbacks.on_end = [&](const EngineError* why) {
    picture_thrown.End(why);
    throw 1;  // nobody is left to hear of it
  };
  REQUIRE(engine->Submit(ADog(40), callbacks, nullptr) != kNoRequest);
  auto asking = ask_thrown.Asking();
  asking.on_text = [](const std::string&) { throw std::runtime_error("mine"); };
  asking.on_end = [&](const EngineError* why, const std::string&) { ask_thrown.End(why); };
  REQUIRE(engine->Submit(QuestionOptions{}, asking, nullptr) != kNoRequest);
  const RequestId id = engine->Submit(ADog(40, 3, 4), outside.Drawing(), nullptr);
  engine->Cancel(id);
  engine->Cancel(id);
  engine->Cancel(12345);
  engine->Wait(id);
  CHECK(outside.ends == 1);
  REQUIRE(engine->Submit(ADog(1), good.Drawing(), nullptr) != kNoRequest);
  engine->WaitForAll();
  using Kind = EngineError::Kind;
  CHECK((outside.error && outside.error->kind == Kind::kCancelled));
  CHECK(outside.pictures.empty());
  CHECK((inside.error && inside.error->kind == Kind::kCancelled));
  CHECK(inside.pictures.size() < 40);
  for (const Heard* heard : {&thrown, &picture_thrown, &ask_thrown}) {
    CHECK(heard->ends == 1);
    REQUIRE(heard->error);
    CHECK(heard->error->kind == Kind::kFailure);
    CHECK(heard->error->message == "mine");
  }
  CHECK_FALSE(good.error);
  CHECK(good.pictures.size() == 1);

  EngineError error;
  CHECK(engine
            ->Draw(
                ADog(3), [](double share) { return share == 0; }, &error)
            .empty());
  CHECK(error.kind == Kind::kCancelled);
}

TEST_CASE("errors have a kind and say what to do") {
  using Kind = EngineError::Kind;
  EngineError error;
  EngineOptions options;
  options.dtype = "f64";
  CHECK_FALSE(Engine::Load(options, &error));
  CHECK(error.kind == Kind::kUsage);
  options.dtype = "", options.model = kGoldens;  // a folder, and no model's
  CHECK_FALSE(Engine::Load(options, &error));
  CHECK(error.kind == Kind::kBadData);
  std::string message;
  CHECK_FALSE(Engine::Load(options, &message));
  CHECK(message == error.message);
  CHECK_FALSE(Engine::Load(options, nullptr));
  options.model = "hf:org/name";
  CHECK_FALSE(Engine::Load(options, &error));
  CHECK_THAT(error.message, Catch::Contains("bifrons pull org/name") && !Catch::Contains("--model"));

  const auto draws = LoadEngine(/*understanding=*/false);
  const auto refused = [&](const auto& what, const char* field) {
    Heard heard;
    error = {};
    if constexpr (std::is_same_v<decltype(what), const DrawOptions&>) {
      CHECK(draws->Submit(what, heard.Drawing(), &error) == kNoRequest);
    } else {
      CHECK(draws->Submit(what, heard.Asking(), &error) == kNoRequest);
    }
    CHECK(error.kind == Kind::kUsage);
    CHECK(error.field == field);
    CHECK(heard.ends == 0);
    return error.message;
  };
  CHECK_THAT(refused(ADog(1, 1, 2), "best_of"), Catch::Contains("understanding half"));
  CHECK_THAT(refused(ADog(1, 1, 1001), "best_of"), Catch::Contains("1000"));
  CHECK_THAT(refused(ADog(0), "images"), Catch::Contains("at least 1"));
  CHECK_THAT(refused(ADog(2, (uint64_t{1} << 53) - 1), "seed"), Catch::Contains("2^53"));
  CHECK_THAT(refused(QuestionOptions{}, ""), Catch::Contains("understanding half"));
  const auto drawing = [](auto DrawOptions::*field, auto value) {
    DrawOptions wrong = ADog(1);
    wrong.*field = value;
    return wrong;
  };
  const auto asking = [](auto QuestionOptions::*field, auto value) {
    QuestionOptions wrong;
    wrong.*field = value;
    return wrong;
  };
  refused(drawing(&DrawOptions::guidance, NAN), "guidance");
  refused(drawing(&DrawOptions::temperature, -1.0f), "temperature");
  refused(drawing(&DrawOptions::top_k, -1), "top_k");
  refused(drawing(&DrawOptions::top_p, 2.0f), "top_p");
  refused(drawing(&DrawOptions::min_p, 2.0f), "min_p");
  refused(asking(&QuestionOptions::max_tokens, 0), "max_tokens");
  refused(asking(&QuestionOptions::top_p, NAN), "top_p");
  DrawOptions longest = ADog(1);
  for (int i = 0; i < 5000; i++) longest.prompt += " x";
  CHECK_THAT(refused(longest, "prompt"), Catch::Contains("too long"));

  Heard heard;
  const auto sees = LoadEngine();
  QuestionOptions question;
  question.images = {kGoldens + "make.py"};  // no image
  REQUIRE(sees->Submit(question, heard.Asking(), &error) != kNoRequest);
  sees->WaitForAll();
  REQUIRE(heard.error);
  CHECK(heard.error->kind == Kind::kBadData);
  CHECK(heard.error->field == "images");
}

TEST_CASE("an engine that ends tells whoever is left") {
  std::vector<Heard> heard(6);
  Heard late;
  std::atomic<bool> refused{false};
  auto engine = LoadEngine();
  Engine* const same = engine.get();
  for (size_t i = 0; i < heard.size(); i++) {
    auto callbacks = heard[i].Drawing();
    callbacks.on_end = [&, i](const EngineError* why) {
      heard[i].End(why);
      EngineError error;
      // A callback may submit, now to no avail.
      if (i == 0)
        refused = same->Submit(ADog(1), late.Drawing(), &error) == kNoRequest &&
                  error.kind == EngineError::Kind::kCancelled;
    };
    REQUIRE(engine->Submit(ADog(10, 1, 1 + static_cast<int>(i % 3)), callbacks, nullptr) != kNoRequest);
  }
  engine.reset();
  for (const Heard& each : heard) {
    CHECK(each.ends == 1);
    REQUIRE(each.error);
    CHECK(each.error->kind == EngineError::Kind::kCancelled);
  }
  CHECK(refused);
  CHECK(late.ends == 0);
}

}  // namespace
}  // namespace bifrons
