// Pages of keys and values: what sequences share, copy, give back and count, against a plain model in which
// every sequence has its own copy of everything.
#include "src/model/kv_cache.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "kernels/host/kv_pages.h"
#include "src/base/out_of_memory.h"
#include "tests/death.h"
#include "tests/measured.h"

namespace bifrons {
namespace {

LlamaConfig SmallConfig() {
  LlamaConfig config;
  config.layers = 2, config.heads = 6, config.kv_heads = 3, config.head_dim = 5;
  return config;
}

constexpr int64_t kPositionFloats = 2 * 2 * 3 * 5;  // layers, keys and values, heads, head_dim

Device& OfHost() {
  static const auto device = MakeDevice("ref", "", 1);
  return **device;
}

std::shared_ptr<KvPool> MakePool(DType type = DType::kF32) {
  return std::make_shared<KvPool>(OfHost(), KvShapeOf(SmallConfig(), type));
}

// A pool with the one queue that all work on its pages goes through.
struct PoolAndQueue {
  std::shared_ptr<KvPool> pool = MakePool();
  std::unique_ptr<Queue> queue = OfHost().MakeQueue();
};

// All that a cache holds of a position, by layer, keys and values, head.
std::vector<float*> RowsAt(const KvCache& cache, int64_t position) {
  auto& pages = static_cast<host::HostKvPages&>(cache.pool()->pages());
  const KvSpan span{1, position, cache.pages()};
  const host::HostKvBatch batch(pages, {&span, 1});
  const host::KvRow& row = batch.row_places()[0];
  std::vector<float*> rows;
  for (int64_t l = 0; l < 2; l++) {
    for (int64_t h = 0; h < 3; h++) rows.push_back(reinterpret_cast<float*>(batch.Keys(row, l, h, position)));
    for (int64_t h = 0; h < 3; h++)
      rows.push_back(reinterpret_cast<float*>(batch.Values(row, l, h, position)));
  }
  return rows;
}

using Position = std::vector<float>;  // [kPositionFloats]

Position Read(const KvCache& cache, int64_t position) {
  Position all;
  for (const float* row : RowsAt(cache, position)) all.insert(all.end(), row, row + 5);
  return all;
}

Position Numbers(float first) {
  Position all(kPositionFloats);
  for (size_t i = 0; i < all.size(); i++) all[i] = first + static_cast<float>(i) / 64;
  return all;
}

void Write(KvCache& cache, int64_t position, const Position& numbers) {
  cache.PrepareWrite(position, 1);
  auto from = numbers.begin();
  for (float* row : RowsAt(cache, position)) {
    std::copy_n(from, 5, row);
    from += 5;
  }
}

// Whether `body` ends in a failed check.
template <class Body>
bool Aborts(const Body& body) {
  return DeathOf(body).signal == SIGABRT;
}

TEST_CASE("a page's layers, keys, values and heads do not overlap and fill it") {
  for (const DType type : {DType::kF32, DType::kBF16}) {
    const auto pool = MakePool(type);
    CHECK(pool->page_bytes() == BytesOf(type, kPositionFloats * kPagePositions));
    CHECK(KvPool::BytesFor(SmallConfig(), type, 1) == pool->page_bytes());
    KvCache cache(pool, kPagePositions);
    cache.Reserve(kPagePositions);
    REQUIRE(cache.pages().size() == 1);
    auto& pages = static_cast<host::HostKvPages&>(pool->pages());
    const uint8_t* first = pages.page(cache.pages()[0]);
    CHECK(reinterpret_cast<uintptr_t>(first) % 64 == 0);
    const KvSpan span{kPagePositions, 0, cache.pages()};
    const host::HostKvBatch batch(pages, {&span, 1});
    std::vector<size_t> rows;
    for (int64_t l = 0; l < 2; l++) {
      for (int64_t h = 0; h < 3; h++) {
        for (const host::KvRow& row : batch.row_places()) {
          rows.push_back(static_cast<size_t>(batch.Keys(row, l, h, row.position) - first));
          rows.push_back(static_cast<size_t>(batch.Values(row, l, h, row.position) - first));
        }
      }
    }
    std::sort(rows.begin(), rows.end());
    for (size_t i = 0; i < rows.size(); i++) REQUIRE(rows[i] == i * BytesOf(type, 5));
    CHECK(rows.size() * BytesOf(type, 5) == pool->page_bytes());
  }
}

TEST_CASE("pages are taken as positions are written, and counted") {
  const auto pool = MakePool();
  CHECK(KvPool::PagesFor(0) == 0);
  CHECK(KvPool::PagesFor(1) == 1);
  CHECK(KvPool::PagesFor(kPagePositions) == 1);
  CHECK(KvPool::PagesFor(kPagePositions + 1) == 2);
  CHECK(KvPool::BytesFor(SmallConfig(), DType::kF32, kPagePositions + 1) == 2 * pool->page_bytes());
  CHECK(pool->pages().shape().Bytes(7) == 7 * kPositionFloats * sizeof(float));
  KvCache a(pool, 5 * kPagePositions);
  CHECK(pool->used() == 0);
  a.PrepareWrite(0, kPagePositions);
  CHECK(pool->used() == 1);
  a.PrepareWrite(kPagePositions - 1, 2);  // across a boundary
  CHECK(pool->used() == 2);
  a.Reserve(3 * kPagePositions);
  a.Reserve(1);  // less than there is: nothing
  CHECK(pool->used() == 3);
  {
    const KvCache moved(std::move(a));
    CHECK(moved.pages().size() == 3);
    CHECK(pool->used() == 3);
  }
  CHECK(pool->used() == 0);
  KvCache b(pool, kPagePositions), c(pool, 2 * kPagePositions);
  b.Reserve(1);
  c.Reserve(2 * kPagePositions);
  b = std::move(c);  // what b held is given back
  CHECK(b.capacity() == 2 * kPagePositions);
  CHECK(pool->used() == 2);
  CHECK(pool->allocated() == 3);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they end the process instead
TEST_CASE("a page that cannot be had changes nothing") {
  LlamaConfig config = SmallConfig();
  config.layers = int64_t{1} << 40;  // no address space holds eight such pages
  KvPool pool(OfHost(), KvShapeOf(config, DType::kF32));
  for (int i = 0; i < 3; i++) {
    try {
      pool.Take();
      FAIL("there is so much memory?");
    } catch (const OutOfMemory& error) {
      CHECK(std::string(error.what()).starts_with("out of memory: "));
      CHECK(std::string(error.what()).ends_with(" MB for keys and values"));
    }
    CHECK(pool.used() == 0);
    CHECK(pool.allocated() == 0);
  }
}
#endif

TEST_CASE("whole pages of a prefix are shared, the last positions are copied") {
  const PoolAndQueue memory;
  const auto& pool = memory.pool;
  constexpr int64_t kPrompt = 2 * kPagePositions + 7;
  auto prompt = std::make_unique<KvCache>(pool, kPrompt);
  for (int64_t p = 0; p < kPrompt; p++) Write(*prompt, p, Numbers(static_cast<float>(p)));
  CHECK(pool->used() == 3);

  std::vector<KvCache> rows;
  for (int i = 0; i < 3; i++) {
    rows.emplace_back(pool, kPrompt + 10);
    rows.back().SharePrefix(*memory.queue, *prompt, kPrompt);
    CHECK(pool->used() == 3 + i + 1);
  }
  CHECK(pool->holders(prompt->pages()[0]) == 4);
  CHECK(pool->holders(prompt->pages()[2]) == 1);
  CHECK(rows[0].pages()[1] == prompt->pages()[1]);
  CHECK(rows[0].pages()[2] != prompt->pages()[2]);
  // Each goes on in a page of its own.
  for (size_t i = 0; i < rows.size(); i++) Write(rows[i], kPrompt, Numbers(1000 + static_cast<float>(i)));
  prompt.reset();  // its unshared page is free, the others live on
  CHECK(pool->used() == 5);
  for (size_t i = 0; i < rows.size(); i++) {
    for (int64_t p = 0; p < kPrompt; p++) REQUIRE(Read(rows[i], p) == Numbers(static_cast<float>(p)));
    CHECK(Read(rows[i], kPrompt) == Numbers(1000 + static_cast<float>(i)));
  }
  rows.erase(rows.begin() + 1, rows.end());
  CHECK(pool->used() == 3);
  CHECK(pool->holders(rows[0].pages()[0]) == 1);
  Write(rows[0], 0, Numbers(-1));  // the last holder may write again
  CHECK(Read(rows[0], 0) == Numbers(-1));

  KvCache exact(pool, 3 * kPagePositions), nothing(pool, kPagePositions);
  exact.SharePrefix(*memory.queue, rows[0], 2 * kPagePositions);  // no part of a page is left to copy
  nothing.SharePrefix(*memory.queue, rows[0], 0);
  CHECK(exact.pages().size() == 2);
  CHECK(nothing.pages().empty());
  CHECK(pool->used() == 3);
}

TEST_CASE("what must not happen is caught") {
  const PoolAndQueue memory;
  const auto& pool = memory.pool;
  Queue& queue = *memory.queue;
  KvCache a(pool, 4 * kPagePositions), b(pool, 4 * kPagePositions);
  a.Reserve(kPagePositions);
  b.SharePrefix(queue, a, kPagePositions);
  CHECK_FALSE(Aborts([] {}));
  CHECK(Aborts([&] { a.PrepareWrite(kPagePositions - 1, 1); }));
  CHECK(Aborts([&] { b.PrepareWrite(0, kPagePositions + 1); }));
  CHECK_FALSE(Aborts([&] { b.PrepareWrite(kPagePositions, 1); }));
  CHECK(Aborts([&] { a.Reserve(4 * kPagePositions + 1); }));           // more than its capacity
  CHECK(Aborts([&] { b.SharePrefix(queue, a, kPagePositions); }));     // not empty
  CHECK(Aborts([&] { KvCache(pool, 9).SharePrefix(queue, a, 10); }));  // more than its capacity
  CHECK(Aborts([&] { KvCache(pool, 99).SharePrefix(queue, a, 1 + kPagePositions); }));  // more than there is
  CHECK(Aborts([&] { KvCache(MakePool(), 9).SharePrefix(queue, a, 9); }));              // another pool
  CHECK(Aborts([&] {
    const int32_t page = pool->Take();
    pool->Release(page);
    pool->Release(page);
  }));
}

TEST_CASE("random sequences hold what a plain model holds, in no more memory than they need") {
  struct Modelled {
    KvCache cache;
    std::vector<Position> model;
  };
  std::mt19937 random(17);
  const auto below = [&](int64_t n) { return static_cast<int64_t>(random() % static_cast<uint32_t>(n)); };
  const PoolAndQueue memory;
  const auto& pool = memory.pool;
  std::vector<Modelled> live;
  int64_t most = 0;
  float next = 0;
  for (int step = 0; step < 6000; step++) {
    const int64_t action = below(10);
    if (live.empty() || (action < 2 && live.size() < 8)) {
      live.push_back({KvCache(pool, 5 * kPagePositions), {}});
    } else if (action < 4 && live.size() < 8) {
      const auto& from = live[static_cast<size_t>(below(static_cast<int64_t>(live.size())))];
      const int64_t positions = below(static_cast<int64_t>(from.model.size()) + 1);
      KvCache cache(pool, 5 * kPagePositions);
      cache.SharePrefix(*memory.queue, from.cache, positions);
      live.push_back({std::move(cache), {from.model.begin(), from.model.begin() + positions}});
    } else if (action < 5) {
      std::swap(live[static_cast<size_t>(below(static_cast<int64_t>(live.size())))], live.back());
      live.pop_back();
    } else {
      auto& [cache, model] = live[static_cast<size_t>(below(static_cast<int64_t>(live.size())))];
      const auto start = static_cast<int64_t>(model.size());
      const int64_t rows = std::min(1 + below(40), cache.capacity() - start);
      for (int64_t p = start; p < start + rows; p++) {
        model.push_back(Numbers(next++));
        Write(cache, p, model.back());
      }
    }
    std::vector<int32_t> pages;
    int64_t held = 0;
    for (const auto& [cache, model] : live) {
      REQUIRE(static_cast<int64_t>(cache.pages().size()) ==
              KvPool::PagesFor(static_cast<int64_t>(model.size())));
      pages.insert(pages.end(), cache.pages().begin(), cache.pages().end());
      if (model.empty()) continue;
      // All positions in turn would take long; these two and a random one see every overwritten page soon.
      for (const int64_t p :
           {int64_t{0}, static_cast<int64_t>(model.size()) - 1, below(static_cast<int64_t>(model.size()))})
        REQUIRE(Read(cache, p) == model[static_cast<size_t>(p)]);
    }
    held = static_cast<int64_t>(pages.size());
    std::sort(pages.begin(), pages.end());
    pages.erase(std::unique(pages.begin(), pages.end()), pages.end());
    REQUIRE(pool->used() == static_cast<int64_t>(pages.size()));
    int64_t holders = 0;
    for (const int32_t page : pages) holders += pool->holders(page);
    REQUIRE(holders == held);
    most = std::max(most, pool->used());
    REQUIRE(pool->allocated() == most);  // freed pages are used again
  }
  CHECK(most > 10);
  live.clear();
  CHECK(pool->used() == 0);
}

TEST_CASE("free pages' memory is given back, and what is held stays") {
  LlamaConfig config = SmallConfig();
  config.layers = 8, config.kv_heads = 16, config.head_dim = 64;  // pages of 2 MB
  PoolAndQueue in;
  in.pool = std::make_shared<KvPool>(OfHost(), KvShapeOf(config, DType::kF32));
  const auto fill = [&](const KvCache& cache, uint8_t with) {
    auto& pages = static_cast<host::HostKvPages&>(in.pool->pages());
    for (const int32_t page : cache.pages()) std::fill_n(pages.page(page), in.pool->page_bytes(), with);
  };
  KvCache held(in.pool, kPagePositions);
  held.Reserve(kPagePositions);
  fill(held, 7);
  for (int i = 0; i < 2; i++) {
    {
      KvCache ended(in.pool, 20 * kPagePositions);
      ended.Reserve(20 * kPagePositions);
      fill(ended, 9);
    }
    const double before = MemoryField("VmRSS");
    in.pool->DiscardFree(*in.queue);
    const double after = MemoryField("VmRSS");
    if (!kSanitized) CHECK(before - after > 0.9 * 20 * static_cast<double>(in.pool->page_bytes()));
    auto& pages = static_cast<host::HostKvPages&>(in.pool->pages());
    const uint8_t* const kept = pages.page(held.pages()[0]);
    CHECK(std::all_of(kept, kept + in.pool->page_bytes(), [](uint8_t x) { return x == 7; }));
    CHECK(in.pool->used() == 1);
    CHECK(in.pool->allocated() == 21);
  }
}

TEST_CASE("two threads take, share and release") {
  const auto pool = MakePool();
  KvCache prompt(pool, 2 * kPagePositions);
  for (int64_t p = 0; p < 2 * kPagePositions; p++) Write(prompt, p, Numbers(static_cast<float>(p)));
  const auto work = [&](float own, bool* right) {
    *right = true;
    // Each has a queue of its own here, as the other's work is never on the pages that this one writes.
    const auto queue = OfHost().MakeQueue();
    for (int i = 0; i < 1000; i++) {
      KvCache row(pool, 4 * kPagePositions);
      row.SharePrefix(*queue, prompt, kPagePositions + 3);
      Write(row, kPagePositions + 3, Numbers(own));
      row.Reserve(3 * kPagePositions);
      *right &= Read(row, kPagePositions + 2) == Numbers(kPagePositions + 2) &&
                Read(row, kPagePositions + 3) == Numbers(own);
    }
  };
  bool right[2];
  std::thread other(work, -1.0f, &right[0]);
  work(-2.0f, &right[1]);
  other.join();
  CHECK((right[0] && right[1]));
  CHECK(pool->used() == 2);
  CHECK(pool->allocated() <= 2 + 2 * 2);
}

}  // namespace
}  // namespace bifrons
