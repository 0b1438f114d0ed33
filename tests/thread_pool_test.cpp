// The pool under the thread sanitizer too: plain, non-atomic data must be handed over by its barriers alone.
#include "src/base/thread_pool.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <numeric>
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

TEST_CASE("AvailableThreads is at least one") { CHECK(AvailableThreads() >= 1); }

}  // namespace
}  // namespace bifrons
