// The pool under the thread sanitizer too: plain, non-atomic data must be handed over by its barriers alone.
#include "src/base/thread_pool.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace bifrons {
namespace {

TEST_CASE("every index is visited once, in parts that depend on n and the thread count only") {
  for (int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    REQUIRE(pool.threads() == threads);
    for (int64_t n : {0, 1, 2, 3, 5, 7, 64, 1000}) {
      std::vector<int> visits(n), owner(n);
      pool.ParallelFor(n, [&](int64_t begin, int64_t end, int thread) {
        for (int64_t i = begin; i < end; i++) visits[i]++, owner[i] = thread;
      });
      CHECK(std::all_of(visits.begin(), visits.end(), [](int v) { return v == 1; }));
      CHECK(std::is_sorted(owner.begin(), owner.end()));
      std::vector<int> again(n);
      pool.ParallelFor(n, [&](int64_t begin, int64_t end, int thread) {
        for (int64_t i = begin; i < end; i++) again[i] = thread;
      });
      CHECK(again == owner);
    }
  }
}

TEST_CASE("a section sees what the sections before it wrote") {
  constexpr int64_t kN = 97;
  constexpr int kSections = 500;
  ThreadPool pool(3);
  std::vector<int64_t> a(kN), b(kN);
  std::iota(a.begin(), a.end(), 0);
  for (int section = 0; section < kSections; section++) {
    pool.ParallelFor(kN, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++)
        b[i] = a[(i + kN / 2) % kN] + 1;  // mostly other threads' elements
    });
    a.swap(b);
    // Now and then long enough for the waiting threads to fall asleep.
    if (section % 100 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  CHECK(std::accumulate(a.begin(), a.end(), int64_t{0}) == kN * (kN - 1) / 2 + kN * kSections);
}

#if !defined(__SANITIZE_THREAD__)  // which puts signals off
std::atomic<bool> held, let_go;

TEST_CASE("a section does not wait for a thread that something else holds") {
  ThreadPool pool(2);
  pthread_t worker{};
  std::atomic<bool> known = false;
  pool.ParallelFor(2, [&](int64_t, int64_t, int part) {
    if (part == 1) worker = pthread_self(), known = true;
    while (!known) std::this_thread::yield();
  });
  REQUIRE_FALSE(pthread_equal(worker, pthread_self()));
  held = let_go = false;
  const auto before = std::signal(SIGUSR1, [](int) {
    held = true;
    while (!let_go) usleep(1000);
  });
  pthread_kill(worker, SIGUSR1);
  while (!held) std::this_thread::yield();
  std::vector<int> visits(10);
  for (int section = 0; section < 3; section++) {
    pool.ParallelFor(10, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) visits[static_cast<size_t>(i)]++;
    });
  }
  CHECK(visits == std::vector<int>(10, 3));
  let_go = true;
  known = false;
  pool.ParallelFor(2, [&](int64_t, int64_t, int part) {  // it has missed three and is there again
    if (part == 1) known = pthread_equal(worker, pthread_self());
    while (!known) std::this_thread::yield();
  });
  std::signal(SIGUSR1, before);
}
#endif

TEST_CASE("pools may be owned by several threads, and end while asleep or at once") {
  std::vector<std::thread> owners;
  std::vector<int64_t> totals(3);
  for (int o = 0; o < 3; o++) {
    owners.emplace_back([&totals, o] {
      for (int round = 0; round < 20; round++) {
        ThreadPool pool(2);
        std::vector<int64_t> part(2);
        pool.ParallelFor(10, [&](int64_t begin, int64_t end, int thread) { part[thread] = end - begin; });
        totals[o] += part[0] + part[1];
      }
    });
  }
  for (auto& owner : owners) owner.join();
  CHECK(totals == std::vector<int64_t>{200, 200, 200});
}

TEST_CASE("several threads issue sections by turns, and nobody is starved") {
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    constexpr int kIssuers = 3, kSections = 300;
    int64_t sections = 0;  // plain: a turn alone protects them
    std::vector<int64_t> totals(kIssuers);
    std::vector<std::thread> issuers;
    for (int i = 0; i < kIssuers; i++) {
      issuers.emplace_back([&, i] {
        std::vector<int64_t> part(static_cast<size_t>(threads));
        for (int s = 0; s < kSections; s++) {
          pool.ParallelFor(5 + i, [&](int64_t begin, int64_t end, int thread) {
            part[static_cast<size_t>(thread)] = end - begin;
            if (thread == 0) sections++;
          });
          for (int64_t& p : part) totals[static_cast<size_t>(i)] += p, p = 0;
        }
      });
    }
    for (auto& issuer : issuers) issuer.join();
    for (int i = 0; i < kIssuers; i++) CHECK(totals[static_cast<size_t>(i)] == kSections * (5 + i));
    CHECK(sections == kIssuers * kSections);
  }
}

// The parts that throw are the bits of `throwing`.
std::string WhatIsThrown(ThreadPool& pool, int64_t n, unsigned throwing, std::vector<int>& finished) {
  finished.assign(static_cast<size_t>(pool.threads()), 0);
  try {
    pool.ParallelFor(n, [&](int64_t, int64_t, int thread) {
      if (throwing >> thread & 1) throw std::runtime_error("part " + std::to_string(thread));
      // Long enough to be still running when another part has failed.
      std::this_thread::sleep_for(std::chrono::microseconds(200));
      finished[static_cast<size_t>(thread)] = 1;
    });
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("what a part throws reaches the issuer after the other parts, the lowest part's first") {
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    std::vector<int> finished;
    for (int round = 0; round < 5; round++) {
      for (unsigned throwing = 0; throwing < 1u << threads; throwing++) {
        INFO(threads << " threads, parts " << throwing << " throw");
        const std::string thrown = WhatIsThrown(pool, 10, throwing, finished);
        int lowest = 0;
        while (lowest < threads && !(throwing >> lowest & 1)) lowest++;
        CHECK(thrown == (lowest < threads ? "part " + std::to_string(lowest) : ""));
        for (int t = 0; t < threads; t++) CHECK(finished[static_cast<size_t>(t)] == !(throwing >> t & 1));
      }
    }
    CHECK(WhatIsThrown(pool, 1, 1, finished) == "part 0");
    CHECK(WhatIsThrown(pool, 10, 0, finished).empty());
  }
}

TEST_CASE("a section that throws hands its turn on") {
  ThreadPool pool(2);
  std::vector<int> thrown(3), sums(3);
  std::vector<std::thread> issuers;
  for (size_t i = 0; i < thrown.size(); i++) {
    issuers.emplace_back([&, i] {
      for (int s = 0; s < 200; s++) {
        std::vector<int> part(2);
        try {
          pool.ParallelFor(8, [&](int64_t begin, int64_t end, int thread) {
            if (s % 2 == 1 && thread == s / 2 % 2) throw std::runtime_error("odd");
            part[static_cast<size_t>(thread)] = static_cast<int>(end - begin);
          });
        } catch (const std::runtime_error&) {
          thrown[i]++;
        }
        sums[i] += part[0] + part[1];
      }
    });
  }
  for (auto& issuer : issuers) issuer.join();
  CHECK(thrown == std::vector<int>{100, 100, 100});
  CHECK(sums == std::vector<int>{1200, 1200, 1200});
}

TEST_CASE("AvailableThreads is at least one") { CHECK(AvailableThreads() >= 1); }

}  // namespace
}  // namespace bifrons
