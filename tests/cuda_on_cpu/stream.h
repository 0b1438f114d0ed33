// Streams as queues of work that is done when somebody waits, in any order that events allow.
#pragma once

#include <cuda_runtime.h>

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "tests/cuda_on_cpu/random.h"

struct CUstream_st;

struct CUevent_st {
  bool timed = false;
  uint64_t recorded = 0, reached = 0;
  const CUstream_st* stream = nullptr;         // where it was recorded last
  std::chrono::steady_clock::time_point time;  // when it was reached last
};

/// What a stream was given while it was captured, with the arguments of that time.
struct CUgraph_st {
  std::vector<std::function<void()>> work;
};
struct CUgraphExec_st : CUgraph_st {};

struct CUstream_st {
  struct Work {
    std::function<void()> run;  // none: waits until `event` has reached `moment`
    std::shared_ptr<CUevent_st> event;
    uint64_t moment = 0;
  };
  std::deque<Work> pending;
  uint64_t given = 0, done = 0;
  bool destroyed = false;
  std::unique_ptr<CUgraph_st> captured;  // while that goes on
};

namespace cuda_emulator {

/// Used under the emulator's lock.
class Streams {
 public:
  void Seed(uint64_t seed) { random_ = Random(seed), seed_ = seed; }

  cudaStream_t Create();
  void Destroy(cudaStream_t stream);
  /// Dies for what is no stream; the default stream, whose order nobody here relies on, is none.
  CUstream_st& Of(cudaStream_t stream);
  /// The same, and dies for one that is captured: nobody can wait for what is not done.
  CUstream_st& NotCaptured(cudaStream_t stream);
  void Give(cudaStream_t stream, std::function<void()> run);

  cudaEvent_t CreateEvent(bool timed);
  void Destroy(cudaEvent_t event);
  std::shared_ptr<CUevent_st> Of(cudaEvent_t event);
  void Record(cudaEvent_t event, cudaStream_t stream);
  void WaitFor(cudaStream_t stream, cudaEvent_t event);

  void BeginCapture(cudaStream_t stream);
  cudaGraph_t EndCapture(cudaStream_t stream);
  cudaGraphExec_t Instantiate(cudaGraph_t graph);
  void Launch(cudaGraphExec_t exec, cudaStream_t stream);
  /// What was launched is still done.
  void Destroy(cudaGraph_t graph);
  void Destroy(cudaGraphExec_t exec);

  /// Does work until `reached`, preferably not what is waited for (of `wanted`).
  void Until(const std::function<bool()>& reached, const CUstream_st* wanted);
  /// Does one piece of work of any stream; there must be some.
  void Step();
  /// Somebody asks whether something is done: now and then, one piece of work is. Who asks again and again is
  /// told so in the end, and who asks in passing cannot rely on it.
  void Asked();
  bool AllDone() const;

 private:
  std::vector<CUstream_st*> Ready() const;
  void GoOn(CUstream_st& stream);

  Random random_{1};
  uint64_t seed_ = 1;
  std::vector<std::unique_ptr<CUstream_st>> streams_;
  std::vector<std::shared_ptr<CUevent_st>> events_;
  std::vector<std::unique_ptr<CUgraph_st>> graphs_;
  std::vector<std::unique_ptr<CUgraphExec_st>> execs_;
};

}  // namespace cuda_emulator
