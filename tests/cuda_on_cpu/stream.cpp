#include "tests/cuda_on_cpu/stream.h"

#include <algorithm>

namespace cuda_emulator {

cudaStream_t Streams::Create() {
  streams_.push_back(std::make_unique<CUstream_st>());
  return streams_.back().get();
}

// What it was given is still done.
void Streams::Destroy(cudaStream_t stream) {
  Of(stream).destroyed = true;
  std::erase_if(streams_, [](const auto& each) { return each->destroyed && each->pending.empty(); });
}

CUstream_st& Streams::Of(cudaStream_t stream) {
  for (const auto& each : streams_) {
    if (each.get() == stream && !each->destroyed) return *each;
  }
  Die(stream == nullptr ? "the default stream is used"
                        : "a stream that was never made or is destroyed is used");
}

CUstream_st& Streams::NotCaptured(cudaStream_t stream) {
  CUstream_st& queue = Of(stream);
  if (queue.captured != nullptr) Die("a stream is waited for, or meets an event, while it is captured");
  return queue;
}

void Streams::Give(cudaStream_t stream, std::function<void()> run) {
  CUstream_st& queue = Of(stream);
  if (queue.captured != nullptr) return queue.captured->work.push_back(std::move(run));
  queue.pending.push_back({std::move(run), nullptr, 0});
  queue.given++;
}

cudaEvent_t Streams::CreateEvent(bool timed) {
  events_.push_back(std::make_shared<CUevent_st>());
  events_.back()->timed = timed;
  return events_.back().get();
}

// Work that was given keeps it.
void Streams::Destroy(cudaEvent_t event) {
  Of(event);
  std::erase_if(events_, [&](const auto& each) { return each.get() == event; });
}

std::shared_ptr<CUevent_st> Streams::Of(cudaEvent_t event) {
  for (const auto& each : events_) {
    if (each.get() == event) return each;
  }
  Die("an event that was never made or is destroyed is used");
}

void Streams::Record(cudaEvent_t event, cudaStream_t stream) {
  const std::shared_ptr<CUevent_st> shared = Of(event);
  NotCaptured(stream);
  shared->stream = stream;
  Give(stream, [shared, moment = ++shared->recorded] {
    shared->reached = std::max(shared->reached, moment);
    shared->time = std::chrono::steady_clock::now();
  });
}

// The event's latest moment, as CUDA has it; one that was never recorded is past.
void Streams::WaitFor(cudaStream_t stream, cudaEvent_t event) {
  CUstream_st& queue = NotCaptured(stream);
  std::shared_ptr<CUevent_st> shared = Of(event);
  const uint64_t moment = shared->recorded;
  queue.pending.push_back({nullptr, std::move(shared), moment});
  queue.given++;
}

template <class T>
T& Living(const std::vector<std::unique_ptr<T>>& all, const T* one) {
  for (const auto& each : all) {
    if (each.get() == one) return *each;
  }
  Die("a graph that was never made or is destroyed is used");
}

void Streams::BeginCapture(cudaStream_t stream) {
  NotCaptured(stream).captured = std::make_unique<CUgraph_st>();
}

cudaGraph_t Streams::EndCapture(cudaStream_t stream) {
  CUstream_st& queue = Of(stream);
  if (queue.captured == nullptr) Die("a capture ends that never began");
  graphs_.push_back(std::move(queue.captured));
  return graphs_.back().get();
}

cudaGraphExec_t Streams::Instantiate(cudaGraph_t graph) {
  execs_.push_back(std::make_unique<CUgraphExec_st>(CUgraphExec_st{Living(graphs_, graph)}));
  return execs_.back().get();
}

void Streams::Launch(cudaGraphExec_t exec, cudaStream_t stream) {
  NotCaptured(stream);
  for (const auto& work : Living(execs_, exec).work) Give(stream, work);
}

void Streams::Destroy(cudaGraph_t graph) {
  Living(graphs_, graph);
  std::erase_if(graphs_, [&](const auto& each) { return each.get() == graph; });
}

void Streams::Destroy(cudaGraphExec_t exec) {
  Living(execs_, exec);
  std::erase_if(execs_, [&](const auto& each) { return each.get() == exec; });
}

std::vector<CUstream_st*> Streams::Ready() const {
  std::vector<CUstream_st*> ready;
  for (const auto& each : streams_) {
    if (each->pending.empty()) continue;
    const CUstream_st::Work& first = each->pending.front();
    if (first.run || first.event->reached >= first.moment) ready.push_back(each.get());
  }
  return ready;
}

void Streams::GoOn(CUstream_st& stream) {
  const CUstream_st::Work work = std::move(stream.pending.front());
  stream.pending.pop_front();
  if (work.run) work.run();
  stream.done++;
}

// One seed in three does the least that is waited for, one everything else first, the rest any order.
void Streams::Until(const std::function<bool()>& reached, const CUstream_st* wanted) {
  while (!reached()) {
    const std::vector<CUstream_st*> ready = Ready();
    if (ready.empty()) Die("streams wait for each other");
    CUstream_st* next = ready[random_.Below(static_cast<uint32_t>(ready.size()))];
    const auto asked = std::find(ready.begin(), ready.end(), wanted);
    if (seed_ % 3 == 0 && asked != ready.end()) next = *asked;
    if (seed_ % 3 == 1 && next == wanted && ready.size() > 1) next = ready[asked == ready.begin() ? 1 : 0];
    GoOn(*next);
  }
}

void Streams::Step() {
  const std::vector<CUstream_st*> ready = Ready();
  if (ready.empty()) Die("streams wait for each other");
  GoOn(*ready[random_.Below(static_cast<uint32_t>(ready.size()))]);
}

void Streams::Asked() {
  if (random_.Below(16) == 0) Step();
}

bool Streams::AllDone() const {
  return std::all_of(streams_.begin(), streams_.end(),
                     [](const auto& each) { return each->pending.empty(); });
}

}  // namespace cuda_emulator
