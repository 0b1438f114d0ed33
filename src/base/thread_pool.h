// A fixed team of threads for loops of many short parallel sections (hundreds per decode step).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace bifrons {

/// Threads that affinity masks and cgroup quotas leave to this process (at least 1).
int AvailableThreads();

/// Runs `body(begin, end, thread)` over static, contiguous parts of [0, n). Which part a thread gets depends
/// on n and the thread count only. Sections are issued from one thread at a time. Waiting threads spin
/// briefly (a decode step has about 200 sections, a few µs apart) and then sleep.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  template <class Body>
  void ParallelFor(int64_t n, const Body& body) {
    if (n <= 0) return;
    if (n == 1 || workers_.empty()) {
      body(int64_t{0}, n, 0);
      return;
    }
    Run(
        n,
        [](const void* b, int64_t begin, int64_t end, int t) {
          (*static_cast<const Body*>(b))(begin, end, t);
        },
        &body);
  }

 private:
  using Call = void (*)(const void* body, int64_t begin, int64_t end, int thread);
  void Run(int64_t n, Call call, const void* body);
  void Work(int thread);
  void RunPart(int thread) const;

  std::vector<std::thread> workers_;
  Call call_ = nullptr;
  const void* body_ = nullptr;
  int64_t n_ = 0;
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<uint32_t> running_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace bifrons
