// Allocations that fail, one after the other: whatever it is that cannot be had, the outcome is a result or
// one clean error, and what goes on is what it would have been. And the program itself under `ulimit -v`.
#include "src/base/out_of_memory.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <new>
#include <stdexcept>

#include "tests/run_program.h"
#include "tests/together.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BIFRONS_SANITIZED 1  // they have allocators of their own, and some of what is below has no user
#endif

namespace {

// Of the allocations since the last arming, `failing` from the one number `failing_from` on fail. One
// counter decides, so that threads which allocate at the same time do not both get the last failure.
std::atomic<int64_t> failing_from{0}, failing{0};
std::atomic<size_t> smallest{0};  // of those that count, in bytes
std::atomic<int64_t> asked{0};    // allocations since the last arming

[[maybe_unused]] bool Fails(size_t size) {
  if (size < smallest.load(std::memory_order_relaxed)) return false;
  const int64_t number = asked.fetch_add(1, std::memory_order_relaxed);
  const int64_t after = number - failing_from.load(std::memory_order_relaxed);
  return after >= 0 && after < failing.load(std::memory_order_relaxed);
}

constexpr int64_t kForEver = int64_t{1} << 60;

// For its lifetime `count` allocations from the `nth` on fail, of those that have so many bytes.
class FailingAllocations {
 public:
  FailingAllocations(int64_t nth, int64_t count, size_t bytes = 0) {
    asked = 0, failing_from = nth, smallest = bytes;
    failing = count;
  }
  ~FailingAllocations() { failing = 0; }
};

}  // namespace

#ifndef BIFRONS_SANITIZED
void* operator new(size_t size) {
  void* const p = Fails(size) ? nullptr : std::malloc(size ? size : 1);
  if (!p) throw std::bad_alloc();
  return p;
}
// Seen through, it looks to GCC as if what new returned were freed.
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { operator delete(p); }

// In the place of libc's.
extern "C" void* aligned_alloc(size_t alignment, size_t size) noexcept {
  static const auto real = reinterpret_cast<void* (*)(size_t, size_t)>(dlsym(RTLD_NEXT, "aligned_alloc"));
  return Fails(size) ? nullptr : real(alignment, size);
}
extern "C" int posix_memalign(void** p, size_t alignment, size_t size) noexcept {
  static const auto real =
      reinterpret_cast<int (*)(void**, size_t, size_t)>(dlsym(RTLD_NEXT, "posix_memalign"));
  // oneDNN 2.6.3 makes its small objects with it and uses them unseen.
  constexpr size_t kSmall = 4096;
  return size > kSmall && Fails(size) ? ENOMEM : real(p, alignment, size);
}
#endif

namespace bifrons {
namespace {

constexpr ModelParts kBothHalves{.understanding = true};

DrawRequest Picture(uint64_t seed) { return {"a red circle", seed, {}}; }

AnswerRequest Question() {
  AnswerRequest request;
  request.turns = {{0, "What is this?", ""}};
  request.max_tokens = 12;
  return request;
}

[[maybe_unused]] bool IsMemoryError(const Error& error) {
  return error.kind == ErrorKind::kFailure && error.message.find('\n') == std::string::npos &&
         (error.message.starts_with("out of memory") || error.message.find("memory") != std::string::npos ||
          error.message.starts_with("oneDNN: "));
}

// Numbers of allocations to let pass: the first ones each, then ever fewer.
[[maybe_unused]] std::vector<int64_t> Sweep(int64_t all, double factor) {
  std::vector<int64_t> numbers;
  for (double n = 0; n < static_cast<double>(all); n = std::max(n + 1, n * factor))
    numbers.push_back(static_cast<int64_t>(n));
  return numbers;
}

TEST_CASE("an exception becomes one line") {
  const auto caught = [](const auto& thrown) {
    return Guarded([&]() -> Status { throw thrown; }).error().message;
  };
  CHECK(caught(OutOfMemory(25'200'000, "keys and values"))
            .starts_with("out of memory: 25.2 MB for keys and values; "));
  const std::string gpu = caught(OutOfMemory(25'200'000, "weights", Memory::kGpu));
  CHECK(gpu.starts_with("out of the GPU's memory: 25.2 MB for weights; "));
  CHECK(gpu.ends_with("--device cpu"));
  CHECK(caught(std::bad_alloc()).starts_with("out of memory; "));
  CHECK(caught(std::runtime_error("a library's")) == "a library's");
  CHECK(caught(1) == "an exception of an unknown type");
  CHECK(Guarded([]() -> Status { return UsageError("its own"); }).error().message == "its own");
}

TEST_CASE("a handler that throws ends its own request alone") {
  const auto janus = LoadTiny(2, kBothHalves);
  const auto alone = RunTogether(*janus, {Drawing(Picture(1)), Asking(Question())}, {0, 0});
  const auto& picture = **alone[0].picture;
  const auto& answer = **alone[1].answer;
  REQUIRE(answer.tokens.size() > 2);

  Scheduler scheduler(*janus, {});
  Outcome good_picture, good_answer, bad_picture, bad_answer;
  const auto boom = [](int64_t tokens) {
    if (tokens == 3) throw std::runtime_error("boom");
  };
  std::atomic<int> told{0};
  REQUIRE(scheduler
              .Submit(Picture(2), {boom, [&](Result<DrawnPicture> p) { bad_picture.picture = std::move(p); }})
              .ok());
  REQUIRE(scheduler
              .Submit(Question(), {[](const std::string&) { throw std::bad_alloc(); },
                                   [&](Result<Answer> a) { bad_answer.answer = std::move(a); }})
              .ok());
  REQUIRE(scheduler
              .Submit(Picture(3), {nullptr,
                                   [&](const Result<DrawnPicture>&) {
                                     told++;
                                     throw 1;
                                   }})
              .ok());
  REQUIRE(scheduler
              .Submit(Question(), {nullptr,
                                   [&](const Result<Answer>&) {
                                     told++;
                                     throw 1;
                                   }})
              .ok());
  Drawing(Picture(1))(scheduler, good_picture);
  Asking(Question())(scheduler, good_answer);
  scheduler.WaitUntilIdle();
  CHECK(told == 2);
  REQUIRE(bad_picture.picture);
  REQUIRE(!bad_picture.picture->ok());
  CHECK(bad_picture.picture->error().message == "boom");
  REQUIRE(bad_answer.answer);
  REQUIRE(!bad_answer.answer->ok());
  CHECK(bad_answer.answer->error().message.starts_with("out of memory"));
  REQUIRE(good_picture.picture->ok());
  CHECK((*good_picture.picture)->codes == picture.codes);
  REQUIRE(good_answer.answer->ok());
  CHECK((*good_answer.answer)->tokens == answer.tokens);
}

TEST_CASE("what a caller's callback throws leaves nothing running behind") {
  const auto janus = LoadTiny(2, kBothHalves);
  Scheduler scheduler(*janus, {});
  CHECK_THROWS_AS(
      AnswerOne(scheduler, Question(), [](const std::string&) -> bool { throw std::runtime_error("mine"); }),
      std::runtime_error);
  const std::vector<DrawRequest> requests = {Picture(1), Picture(2)};
  CHECK_THROWS_AS(
      Draw(scheduler, requests, [](const DrawProgress&) -> bool { throw std::runtime_error("mine"); }),
      std::runtime_error);
  scheduler.WaitUntilIdle();
  CHECK(Draw(scheduler, requests, nullptr).ok());
}

#ifndef BIFRONS_SANITIZED

// Loading and drawing with little memory from the nth allocation on.
Status LoadAndDraw() {
  return Guarded([]() -> Status {
    LoadOptions options;
    options.model = BIFRONS_TEST_DIR "/goldens/tiny-a/converted";
    options.compute = DType::kF32;
    options.threads = 2;
    BIFRONS_TRY(const auto janus, Janus::Load(options));
    Scheduler scheduler(*janus, {});
    BIFRONS_TRY(const auto drawn, Draw(scheduler, std::vector<DrawRequest>{Picture(1), Picture(2)}, nullptr));
    return drawn.size() == 2 ? Status() : Failure("lost pictures");
  });
}

TEST_CASE("loading and drawing survive any allocation that fails") {
  alarm(300);  // a hang is a failure too
  // nlohmann::json needs a little memory to give its own back.
  constexpr size_t kSmallest = 1024;
  REQUIRE(LoadAndDraw().ok());  // oneDNN keeps what it has compiled once
  int64_t all = 0;
  {
    const FailingAllocations none(kForEver, 0, kSmallest);
    REQUIRE(LoadAndDraw().ok());
    all = asked;
  }
  REQUIRE(all > 300);
  int failures = 0;
  for (const int64_t count : {int64_t{1}, kForEver}) {
    for (const int64_t nth : Sweep(all, 1.15)) {
      Status status;
      {
        const FailingAllocations some(nth, count, kSmallest);
        status = LoadAndDraw();
      }
      INFO("allocation " << nth << " of " << all << (count == 1 ? " alone" : " and all after it"));
      if (!status.ok()) {
        failures++;
        INFO(status.error().message);
        REQUIRE(IsMemoryError(status.error()));
      } else {
        REQUIRE((count == 1 || nth > all / 2));  // threads differ a little
      }
    }
  }
  CHECK(failures > 30);
  CHECK(LoadAndDraw().ok());
  alarm(0);
}

// Told without an allocation of the listener's own.
struct Told {
  std::optional<Result<DrawnPicture>> picture;
  std::optional<Result<Answer>> answer;
};

TEST_CASE(
    "of several requests, one allocation that fails ends one at most, and the others are what they are") {
  alarm(300);
  const auto janus = LoadTiny(2, kBothHalves);
  const auto run = [&](Scheduler& scheduler, std::vector<Told>& told) {
    for (size_t i = 0; i < told.size(); i++) {
      if (i < 3) {
        const auto id = Guarded([&] {
          DrawRequest picture = Picture(i);
          picture.best_of = i == 2 ? 2 : 1;
          return scheduler.Submit(picture, {nullptr, [&told, i](Result<DrawnPicture> p) {
                                              told[i].picture.emplace(std::move(p));
                                            }});
        });
        if (!id.ok()) told[i].picture.emplace(id.error());
      } else {
        const auto id = Guarded([&] {
          return scheduler.Submit(
              Question(), {nullptr, [&told, i](Result<Answer> a) { told[i].answer.emplace(std::move(a)); }});
        });
        if (!id.ok()) told[i].answer.emplace(id.error());
      }
    }
    scheduler.WaitUntilIdle();
  };
  std::vector<Told> right(5);
  int64_t all = 0;
  size_t held = 0;
  {
    Scheduler scheduler(*janus, {});
    const FailingAllocations none(kForEver, 0);
    run(scheduler, right);
    all = asked;
  }
  int failures = 0;
  for (const int64_t count : {int64_t{1}, int64_t{3}, kForEver}) {
    Scheduler scheduler(*janus, {});
    std::vector<Told> first(right.size());
    run(scheduler, first);
    scheduler.RunBetweenSteps([] {});
    held = scheduler.stats().cache_bytes;
    for (const int64_t nth : Sweep(all, 1.7)) {
      INFO("allocations from " << nth << " of " << all << " on, " << count);
      std::vector<Told> told(right.size());
      {
        const FailingAllocations some(nth, count);
        run(scheduler, told);
      }
      int failed = 0;
      for (size_t i = 0; i < told.size(); i++) {
        if (i < 3) {
          REQUIRE(told[i].picture);
          if (told[i].picture->ok()) {
            REQUIRE((*told[i].picture)->codes == (*right[i].picture)->codes);
          } else {
            INFO(told[i].picture->error().message);
            REQUIRE(IsMemoryError(told[i].picture->error()));
            failed++;
          }
        } else {
          REQUIRE(told[i].answer);
          if (told[i].answer->ok()) {
            REQUIRE((*told[i].answer)->tokens == (*right[i].answer)->tokens);
          } else {
            INFO(told[i].answer->error().message);
            REQUIRE(IsMemoryError(told[i].answer->error()));
            failed++;
          }
        }
      }
      if (count < kForEver) REQUIRE(failed <= count);
      failures += failed;
    }
    // The rows' pages are back: only prefixes are kept, as before.
    std::vector<Told> after(right.size());
    run(scheduler, after);
    for (size_t i = 0; i < 3; i++) CHECK((*after[i].picture)->codes == (*right[i].picture)->codes);
    scheduler.RunBetweenSteps([] {});
    CHECK(scheduler.stats().cache_bytes <= held);
  }
  CHECK(failures > 20);
  alarm(0);
}

TEST_CASE("a step that breaks off anywhere skips and repeats no token of the others") {
  alarm(300);
  const auto janus = LoadTiny(2, kBothHalves);
  const std::vector<Submit> requests = {Drawing(Picture(1)), Asking(Question()), Drawing(Picture(2)),
                                        Drawing(Picture(3))};
  const auto right = RunTogether(*janus, requests, {0, 0, 0, 0});
  int failures = 0;
  for (int64_t nth = 0; nth < 66; nth += 5) {
    INFO("allocation " << nth << " of the steps after the third");
    int steps = 0;
    std::optional<FailingAllocations> one;
    SchedulerOptions options;
    options.on_step = [&] {
      if (++steps == 3) one.emplace(nth, 1);
    };
    std::vector<Outcome> outcomes(requests.size());
    Scheduler scheduler(*janus, options);
    scheduler.RunBetweenSteps([&] {
      for (size_t i = 0; i < requests.size(); i++) requests[i](scheduler, outcomes[i]);
    });
    scheduler.WaitUntilIdle();
    one.reset();
    int failed = 0;
    for (size_t i = 0; i < requests.size(); i++) {
      if (right[i].answer) {
        REQUIRE(outcomes[i].answer);
        failed += outcomes[i].answer->ok() ? 0 : 1;
        if (outcomes[i].answer->ok()) REQUIRE((*outcomes[i].answer)->tokens == (*right[i].answer)->tokens);
      } else {
        REQUIRE(outcomes[i].picture);
        failed += outcomes[i].picture->ok() ? 0 : 1;
        if (outcomes[i].picture->ok()) REQUIRE((*outcomes[i].picture)->codes == (*right[i].picture)->codes);
      }
    }
    REQUIRE(failed <= 1);
    failures += failed;
  }
  CHECK(failures > 6);
  alarm(0);
}

// The program with so much address space, in KB.
ProgramResult RunLimited(int kilobytes, const std::string& arguments, const TemporaryFolder& folder) {
  const std::string command = "ulimit -c 0; ulimit -v " + std::to_string(kilobytes) +
                              "; exec '" BIFRONS_PROGRAM "' " + arguments + " >'" + (folder / "out") +
                              "' 2>'" + (folder / "err") + "'";
  const int status = std::system(("sh -c \"" + command + "\"").c_str());
  ProgramResult result;
  // A shell that ran the program in its own stead passes its signal on, another adds 128.
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  result.err = ReadText(folder / "err");
  return result;
}

TEST_CASE("the program in ever less address space draws, or says in one line why not") {
  const TemporaryFolder folder;
  const std::string model = BIFRONS_TEST_DIR "/../assets/janus-mini", output = folder / "picture.png";
  int drawn = 0, refused = 0;
  for (const std::string& verb :
       {"generate -q --force -n 3 --seed 1 -o " + output + " -m " + model + " 'a red circle'",
        "ask -m " + model + " " + (folder / "picture_1.png") + " 'What is this?'"}) {
    for (int kilobytes = 400'000; kilobytes > 100'000; kilobytes -= 67'000) {
      INFO(verb << " in " << kilobytes << " KB");
      const ProgramResult begun = RunLimited(kilobytes, "--version", folder);
      if (begun.signal != 0 || begun.exit_code != 0)
        break;  // the libraries have no room, before the program begins
      const ProgramResult result = RunLimited(kilobytes, verb + " --threads 2", folder);
      INFO(result.err);
      CHECK(result.signal == 0);
      CHECK((result.exit_code == 0 || result.exit_code == 1));
      if (result.exit_code == 0) {
        drawn++;
        continue;
      }
      refused++;
      CHECK(result.err.starts_with("bifrons: "));
      CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
    }
  }
  CHECK(drawn > 0);
  CHECK(refused > 0);
}

#endif

}  // namespace
}  // namespace bifrons
