// A fixed team of threads for loops of many short parallel sections (hundreds per decode step).
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace bifrons {

/// Threads that affinity masks and cgroup quotas leave to this process (at least 1).
int AvailableThreads();

/// Runs `body(begin, end, part)` over static, contiguous parts of [0, n), which depend on n and the thread
/// count only; part < threads(). Each thread begins with a part of its own and then takes those that nobody
/// has begun: where other work holds a core, its thread is not waited for. Waiting threads spin briefly (a
/// decode step has about 200 sections, a few µs apart) and then sleep. Several threads may issue sections:
/// they take turns, in the order of their asking, so that two pieces of work share the pool's cores section
/// by section and neither waits for the whole of the other. A body issues no sections.
///
/// What a body throws ends its own part; the others run to their ends, and then the exception of the lowest
/// part that failed is thrown to whoever issued the section.
class ThreadPool {
 public:
  /// `threads` in all, the issuer's own among them. Throws std::system_error where one cannot be started.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  template <class Body>
  void ParallelFor(int64_t n, const Body& body) {
    if (n <= 0) return;
    const Turn turn(*this);
    if (n == 1 || workers_.empty()) {
      body(int64_t{0}, n, 0);
      return;
    }
    Run(
        n,
        [](const void* b, int64_t begin, int64_t end, int part) {
          (*static_cast<const Body*>(b))(begin, end, part);
        },
        &body);
  }

 private:
  // A place in the queue of those who issue sections. A mutex would not do: who has just let go of it takes
  // it again before the one it woke has come round.
  class Turn {
   public:
    explicit Turn(ThreadPool& pool) : pool_(pool) {
      const uint32_t mine = pool.asked_.fetch_add(1, std::memory_order_relaxed);
      for (uint32_t now; (now = pool.served_.load(std::memory_order_acquire)) != mine;)
        pool.served_.wait(now);
    }
    ~Turn() {
      pool_.served_.fetch_add(1, std::memory_order_release);
      pool_.served_.notify_all();
    }
    Turn(const Turn&) = delete;

   private:
    ThreadPool& pool_;
  };

  using Call = void (*)(const void* body, int64_t begin, int64_t end, int part);
  void Run(int64_t n, Call call, const void* body);
  void Work(int thread);
  void RunParts(int first, uint32_t section);
  void RunPart(int part) noexcept;
  void RethrowFirst();
  void Stop();

  std::vector<std::thread> workers_;
  Call call_ = nullptr;
  const void* body_ = nullptr;
  int64_t n_ = 0;
  alignas(64) std::atomic<uint32_t> section_{0};  // the current or last one's number
  alignas(64) std::atomic<uint32_t> left_{0};     // parts of it that are not done
  std::vector<std::atomic<uint32_t>> begun_;      // by part: the last section in which somebody began it
  std::atomic<bool> stop_{false};
  std::atomic<bool> failed_{false};         // any of errors_
  std::vector<std::exception_ptr> errors_;  // of the current section, by part
  alignas(64) std::atomic<uint32_t> asked_{0}, served_{0};
};

}  // namespace bifrons
