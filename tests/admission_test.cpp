// Who may begin: the budget holds, nobody overtakes in his own queue, nobody starves.
#include "src/engine/admission.h"

#include <catch2/catch.hpp>
#include <deque>
#include <random>
#include <vector>

namespace bifrons {
namespace {

struct Job {
  RequestKind kind;
  int64_t arrival;
  size_t bytes;
  int left = 0;  // rounds it runs
};

// Runs jobs that arrive one after another, `gap` rounds apart, and says in which round each began.
std::vector<int> Simulate(const Admission::Limits& limits, const std::vector<Job>& jobs, int gap) {
  Admission admission(limits);
  std::deque<Job> pictures, answers;
  std::vector<Job> running;
  std::vector<int> began(jobs.size(), -1);
  size_t next = 0, begun = 0;
  for (int round = 0; begun < jobs.size(); round++) {
    REQUIRE(round < 100000);
    for (; next < jobs.size() && round >= gap * static_cast<int>(next); next++) {
      REQUIRE(admission.CanEver(jobs[next].bytes));
      (jobs[next].kind == RequestKind::kPicture ? pictures : answers).push_back(jobs[next]);
    }
    const auto head = [](const std::deque<Job>& queue) {
      return queue.empty() ? std::nullopt : std::optional(Head{queue.front().arrival, queue.front().bytes});
    };
    while (const auto kind = admission.Next(head(pictures), head(answers))) {
      auto& queue = *kind == RequestKind::kPicture ? pictures : answers;
      admission.Begin(*kind, queue.front().bytes);
      began[static_cast<size_t>(queue.front().arrival)] = round;
      running.push_back(queue.front());
      queue.pop_front();
      begun++;
      CHECK(admission.used() <= limits.bytes);
      CHECK(admission.pictures() <= limits.pictures);
      CHECK(admission.answers() <= limits.answers);
    }
    std::erase_if(running, [&](Job& job) {
      if (--job.left > 0) return false;
      admission.End(job.kind, job.bytes);
      return true;
    });
  }
  return began;
}

TEST_CASE("a random mix: everyone begins, in order within his kind, and the budget holds") {
  std::mt19937 random(1);
  for (int trial = 0; trial < 60; trial++) {
    const auto upto = [&](int64_t n) { return static_cast<int64_t>(random()) % n; };
    const Admission::Limits limits{100, random() % 3 == 0 ? 0 : random() % 100, 1 + upto(6), 1 + upto(4)};
    std::vector<Job> jobs;
    for (int64_t i = 0; i < 120; i++) {
      jobs.push_back({random() % 2 ? RequestKind::kPicture : RequestKind::kAnswer, i, 1 + random() % 100,
                      1 + static_cast<int>(random() % 9)});
    }
    const auto began = Simulate(limits, jobs, static_cast<int>(random() % 4));
    for (const RequestKind kind : {RequestKind::kPicture, RequestKind::kAnswer}) {
      int last = -1;
      for (size_t i = 0; i < jobs.size(); i++) {
        if (jobs[i].kind != kind) continue;
        CHECK(began[i] >= last);
        last = began[i];
      }
    }
  }
}

TEST_CASE("a caption does not wait for a thousand pictures that came before it") {
  std::vector<Job> jobs;
  for (int64_t i = 0; i < 1000; i++) jobs.push_back({RequestKind::kPicture, i, 10, 50});
  jobs.push_back({RequestKind::kAnswer, 1000, 8, 5});
  const auto began = Simulate({100, 10, 16, 16}, jobs, 0);
  CHECK(began[1000] == 0);
  CHECK(began[999] > 1000);
}

TEST_CASE("a picture that needs all the memory is not starved by captions that keep coming") {
  std::vector<Job> jobs{{RequestKind::kPicture, 0, 30, 10}, {RequestKind::kPicture, 1, 100, 10}};
  for (int64_t i = 2; i < 500; i++) jobs.push_back({RequestKind::kAnswer, i, 5, 20});
  const auto began = Simulate({100, 10, 16, 16}, jobs, 1);
  CHECK(began[1] < 60);
}

TEST_CASE("a large caption is not starved by pictures that keep coming") {
  std::vector<Job> jobs{{RequestKind::kPicture, 0, 60, 10}, {RequestKind::kAnswer, 1, 90, 10}};
  for (int64_t i = 2; i < 500; i++) jobs.push_back({RequestKind::kPicture, i, 20, 20});
  const auto began = Simulate({100, 10, 16, 16}, jobs, 1);
  CHECK(began[1] < 60);
}

TEST_CASE("what is taken beside the requests counts") {
  Admission admission({100, 0, 4, 4});
  admission.Take(30);
  CHECK(admission.used() == 30);
  CHECK_FALSE(admission.Next(Head{0, 71}, {}));
  CHECK(admission.Next(Head{0, 70}, {}) == RequestKind::kPicture);
  admission.Return(30);
  CHECK(admission.Next(Head{0, 100}, {}) == RequestKind::kPicture);
  CHECK_FALSE(admission.CanEver(101));
}

}  // namespace
}  // namespace bifrons
