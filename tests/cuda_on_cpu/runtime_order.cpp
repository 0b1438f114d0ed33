// The host's calls for streams, events and graphs.
#include <cuda_runtime.h>

#include "tests/cuda_on_cpu/state.h"

using namespace cuda_emulator;  // NOLINT(google-build-using-namespace): only CUDA's own names follow

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  NEEDS_A_DRIVER();
  Require(flags == cudaStreamNonBlocking, "cudaStreamCreateWithFlags",
          "a stream that the default stream would wait for");
  *stream = state.streams.Create();
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  NEEDS_A_DRIVER();
  state.streams.Destroy(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  NEEDS_A_DRIVER();
  const CUstream_st& wanted = state.streams.NotCaptured(stream);
  state.streams.Until([&, given = wanted.given] { return wanted.done >= given; }, &wanted);
  return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  NEEDS_A_DRIVER();
  if (state.streams.NotCaptured(stream).pending.empty()) return cudaSuccess;
  state.streams.Asked();
  return Failed(cudaErrorNotReady);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  NEEDS_A_DRIVER();
  Require(flags == 0, "cudaStreamWaitEvent", "flags");
  state.streams.WaitFor(stream, event);
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  NEEDS_A_DRIVER();
  Require((flags & ~(cudaEventBlockingSync | cudaEventDisableTiming)) == 0, "cudaEventCreateWithFlags",
          "other flags");
  *event = state.streams.CreateEvent((flags & cudaEventDisableTiming) == 0);
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  NEEDS_A_DRIVER();
  state.streams.Destroy(event);
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  NEEDS_A_DRIVER();
  state.streams.Record(event, stream);
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  NEEDS_A_DRIVER();
  const std::shared_ptr<CUevent_st> wanted = state.streams.Of(event);
  state.streams.Until([&, moment = wanted->recorded] { return wanted->reached >= moment; }, wanted->stream);
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  NEEDS_A_DRIVER();
  const std::shared_ptr<CUevent_st> asked = state.streams.Of(event);
  if (asked->reached >= asked->recorded) return cudaSuccess;
  state.streams.Asked();
  return Failed(cudaErrorNotReady);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  NEEDS_A_DRIVER();
  const std::shared_ptr<CUevent_st> a = state.streams.Of(begin), b = state.streams.Of(end);
  Require(a->timed && b->timed, "cudaEventElapsedTime", "an event without time");
  Require(a->recorded > 0 && b->recorded > 0, "cudaEventElapsedTime", "an event that was never recorded");
  if (a->reached < a->recorded || b->reached < b->recorded) return Failed(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(b->time - a->time).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  NEEDS_A_DRIVER();
  state.streams.BeginCapture(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  NEEDS_A_DRIVER();
  *graph = state.streams.EndCapture(stream);
  if (!state.settings.spoils_captures) return cudaSuccess;
  state.streams.Destroy(*graph);
  *graph = nullptr;
  return Failed(cudaErrorStreamCaptureInvalidated);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags) {
  NEEDS_A_DRIVER();
  Require(flags == 0, "cudaGraphInstantiate", "flags");
  *exec = state.streams.Instantiate(graph);
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  NEEDS_A_DRIVER();
  state.streams.Destroy(graph);
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  NEEDS_A_DRIVER();
  state.streams.Launch(exec, stream);
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  NEEDS_A_DRIVER();
  state.streams.Destroy(exec);
  return cudaSuccess;
}

}  // extern "C"
