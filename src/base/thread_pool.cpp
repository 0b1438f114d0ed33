#include "src/base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>

#include "src/base/check.h"

namespace bifrons {
namespace {

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// About 30 µs of spinning: longer than the gap between two sections of a step, shorter than what anybody
// would notice as a busy core.
constexpr int kSpins = 2000;

// cgroup v2: "max 100000" or "<quota> <period>"; v1: two files, quota −1 for none. 0 when there is no limit.
int CgroupThreads() {
  double quota = -1, period = 0;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2) {
    std::string text;
    v2 >> text >> period;
    if (text != "max" && !text.empty()) quota = std::atof(text.c_str());
  } else {
    std::ifstream q("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), p("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (q && p) q >> quota, p >> period;
  }
  return quota > 0 && period > 0 ? std::max(1, static_cast<int>(std::ceil(quota / period))) : 0;
}

}  // namespace

int AvailableThreads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int n = sched_getaffinity(0, sizeof(set), &set) == 0
              ? CPU_COUNT(&set)
              : static_cast<int>(std::thread::hardware_concurrency());
  if (const int quota = CgroupThreads(); quota > 0) n = std::min(n, quota);
  return std::max(1, n);
}

ThreadPool::ThreadPool(int threads) : begun_(static_cast<size_t>(threads)) {
  BIFRONS_CHECK(threads >= 1);
  errors_.resize(static_cast<size_t>(threads));
  workers_.reserve(static_cast<size_t>(threads - 1));
  try {
    for (int t = 1; t < threads; t++) workers_.emplace_back([this, t] { Work(t); });
  } catch (...) {
    Stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { Stop(); }

void ThreadPool::Stop() {
  stop_.store(true, std::memory_order_relaxed);
  section_.fetch_add(1, std::memory_order_release);
  section_.notify_all();
  for (auto& w : workers_) w.join();
}

void ThreadPool::RunParts(int first, uint32_t section) {
  const int parts = threads();
  for (int i = 0; i < parts; i++) {
    const int part = (first + i) % parts;
    std::atomic<uint32_t>& begun = begun_[static_cast<size_t>(part)];
    // Every section begins every part once. So this fails for who comes late, also by several sections, and
    // nobody but a part's runner reads what Run has set. The look beforehand keeps the line shared.
    uint32_t last = section - 1;
    if (begun.load(std::memory_order_relaxed) != last ||
        !begun.compare_exchange_strong(last, section, std::memory_order_acq_rel))
      continue;
    RunPart(part);
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) left_.notify_one();
  }
}

void ThreadPool::RunPart(int part) noexcept {
  const int64_t parts = threads();
  const int64_t begin = n_ * part / parts, end = n_ * (part + 1) / parts;
  try {
    if (begin < end) call_(body_, begin, end, part);
  } catch (...) {
    errors_[static_cast<size_t>(part)] = std::current_exception();
    failed_.store(true, std::memory_order_relaxed);
  }
}

void ThreadPool::Run(int64_t n, Call call, const void* body) {
  n_ = n, call_ = call, body_ = body;
  left_.store(static_cast<uint32_t>(threads()), std::memory_order_relaxed);
  const uint32_t section = section_.load(std::memory_order_relaxed) + 1;
  section_.store(section, std::memory_order_release);
  section_.notify_all();
  RunParts(0, section);
  // Also after a failure, as the workers still use the body.
  for (int i = 0; i < kSpins && left_.load(std::memory_order_acquire) != 0; i++) Pause();
  for (uint32_t left; (left = left_.load(std::memory_order_acquire)) != 0;) left_.wait(left);
  if (failed_.load(std::memory_order_relaxed)) [[unlikely]]
    RethrowFirst();
}

void ThreadPool::RethrowFirst() {
  std::exception_ptr first;
  for (std::exception_ptr& error : errors_) {
    if (!first) first = error;
    error = nullptr;
  }
  failed_.store(false, std::memory_order_relaxed);
  std::rethrow_exception(std::move(first));
}

void ThreadPool::Work(int thread) {
  uint32_t seen = 0;
  for (;;) {
    for (int i = 0; i < kSpins && section_.load(std::memory_order_acquire) == seen; i++) Pause();
    section_.wait(seen, std::memory_order_acquire);
    seen = section_.load(std::memory_order_acquire);  // several may have gone by
    if (stop_.load(std::memory_order_relaxed)) return;
    RunParts(thread, seen);
  }
}

}  // namespace bifrons
