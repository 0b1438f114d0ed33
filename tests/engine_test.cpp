// A picture depends on its own request only: not on the batch, its order, the thread count, or earlier
// pictures.
#include <catch2/catch.hpp>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "src/engine/scheduler.h"
#include "src/engine/trace.h"
#include "tests/sample_token.h"

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

}  // namespace
}  // namespace bifrons
