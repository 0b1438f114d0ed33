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

ThreadPool::ThreadPool(int threads) {
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
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (auto& w : workers_) w.join();
}

void ThreadPool::RunPart(int thread) noexcept {
  const int64_t parts = threads();
  const int64_t begin = n_ * thread / parts, end = n_ * (thread + 1) / parts;
  try {
    if (begin < end) call_(body_, begin, end, thread);
  } catch (...) {
    errors_[static_cast<size_t>(thread)] = std::current_exception();
    failed_.store(true, std::memory_order_relaxed);
  }
}

void ThreadPool::Run(int64_t n, Call call, const void* body) {
  n_ = n, call_ = call, body_ = body;
  running_.store(static_cast<uint32_t>(workers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  RunPart(0);
  // Also after a failure, as the workers still use the body.
  for (int i = 0; i < kSpins && running_.load(std::memory_order_acquire) != 0; i++) Pause();
  for (uint32_t left; (left = running_.load(std::memory_order_acquire)) != 0;) running_.wait(left);
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
    for (int i = 0; i < kSpins && generation_.load(std::memory_order_acquire) == seen; i++) Pause();
    generation_.wait(seen, std::memory_order_acquire);
    seen++;  // Run waits for every worker, so no generation is ever skipped
    if (stop_.load(std::memory_order_relaxed)) return;
    RunPart(thread);
    if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) running_.notify_one();
  }
}

}  // namespace bifrons
