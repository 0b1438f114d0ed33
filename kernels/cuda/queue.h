// The cuda device's queue: a stream of the GPU. Its tickets are events; numbers come and go by way of pinned
// memory, so that the host never waits for a copy.
#pragma once

#include <deque>
#include <memory>
#include <mutex>

#include "kernels/cuda/cudnn.h"
#include "kernels/cuda/memory.h"
#include "kernels/queue.h"

namespace bifrons::cuda {

/// A moment in a stream's order.
class Event {
 public:
  explicit Event(bool timed = false);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

class CudaQueue final : public Queue {
 public:
  /// `has_tiles`: the GPU has tensor cores for bf16.
  CudaQueue(DeviceMemory& memory, bool has_tiles);
  /// Waits until all is done; downloads that nobody has waited for are forgotten.
  ~CudaQueue() override;

  Ticket Record() override;
  void After(const Ticket& ticket) override;
  void Wait(const Ticket& ticket) override;
  bool Done(const Ticket& ticket) override;

  std::unique_ptr<KvBatch> MakeBatch(KvPages& pages, std::span<const KvSpan> spans) override;
  void CopyPositions(KvPages& pages, int32_t from, int64_t positions, int32_t to) override;
  std::unique_ptr<Repetition> MakeRepetition() override;

 private:
  // Where to launch; makes the GPU the calling thread's.
  cudaStream_t stream() const {
    memory_.MakeCurrent();
    return stream_;
  }
  // Memory of the GPU for one op, 256-byte aligned: the next op that asks gets the same. Throws OutOfMemory.
  template <class T>
  T* Scratch(int64_t count) {
    return reinterpret_cast<T*>(ScratchBytes(static_cast<size_t>(count) * sizeof(T)));
  }
  uint8_t* ScratchBytes(size_t bytes);
  // Counters that are zero between ops: a kernel leaves them as it finds them. Throws OutOfMemory.
  unsigned* Counters(int64_t count);
  // Numbers for kernels, by way of pinned memory; `from` may go away at once.
  void Bring(const void* from, size_t bytes, uint8_t* to);

  // graphs.cpp
  void DoRepeat(Repetition& repetition, std::span<const View> views, const KvBatch& batch,
                const std::function<void()>& give) override;
  // queue.cu
  void BeginOp() override;
  void EndOp(const Reported& op) override;
  void DoUpload(TensorView from, View to) override;
  Ticket DoDownload(View from, void* to) override;
  void DoCopy(View from, View to) override;
  void DoCopyRows(View from, std::span<const int32_t> rows, View to) override;
  void DoFill(View to, float value) override;
  // queue_rows.cu
  void DoMultiply(const Linear& weight, View x, RowClass row_class, Epilogue epilogue, View y) override;
  void DoMultiplyNormed(const Linear& weight, View x, View norm, float eps, RowClass row_class,
                        Epilogue epilogue, View y) override;
  void DoLookUp(const Table& table, View ids, View y) override;
  void DoRmsNorm(View x, View weight, float eps, View y) override;
  void DoLayerNorm(View x, View weight, View bias, float eps, View y) override;
  void DoStoreKv(View k, View v, const KvBatch& batch, int64_t layer) override;
  void DoRopeStoreKv(View q, View k, View v, const KvBatch& batch, View cos, View sin,
                     int64_t layer) override;
  void DoAttend(View q, const KvBatch& batch, int64_t layer, View y) override;
  void DoAttendAll(const FullAttention& attention, View q, View k, View v, View y) override;
  // queue_maps.cu
  void DoSample(View logits, std::span<const SampleRequest> requests, View tokens) override;
  void DoConvolve(const Conv2d& conv, View in, View residual, View out) override;
  void DoGroupNorm(View in, View gamma, View beta, int groups, float eps, bool silu, View out) override;
  void DoUpsample2x(View in, View out) override;
  void DoUnfoldPatches(View picture, int64_t patch, View rows) override;
  void DoNearestCodeword(View z, View codebook, View squares, View codes) override;
  void DoToBytes(View in, View out) override;

  // Pinned memory is a ring: a piece of it is free again when its copy is done.
  struct Piece {
    uint64_t end;     // position in the ring, which never starts again
    uint64_t moment;  // when the copy is done
    const uint8_t* at;
    void* to;  // null for an upload
    size_t bytes;
  };
  // An op whose time is asked for.
  struct Timed {
    Reported op;
    std::unique_ptr<Event> begun, ended;
    uint64_t moment;
  };

  // Of the ring; waits where it is full. The copy from or to it is followed by EndPiece.
  uint8_t* TakePiece(size_t bytes);
  // `to` is where the bytes of a download go; null for those of an upload.
  Ticket EndPiece(const uint8_t* at, void* to, size_t bytes);
  // Of one of this queue's moments; null where it is known to have come.
  std::shared_ptr<Event> EventOf(uint64_t moment);
  void WaitFor(uint64_t moment);
  bool IsReached(uint64_t moment);
  // With the mutex: delivers downloads and reports times up to a moment that has come.
  void Reach(uint64_t moment);

  DeviceMemory& memory_;
  const bool has_tiles_;
  cudaStream_t stream_;
  std::unique_ptr<CudaBuffer> scratch_, counters_;
  std::unique_ptr<CudnnHandle> cudnn_;  // from the first convolution by cuDNN on
  std::unique_ptr<Event> begun_;        // of the op that is being given

  // Other queues' threads ask for this one's tickets too.
  std::mutex mutex_;
  uint64_t recorded_ = 0, reached_ = 0;        // moments
  std::deque<std::shared_ptr<Event>> events_;  // of the moments after reached_
  std::deque<Timed> timed_;
  std::deque<Piece> pieces_;
  const PinnedMemory ring_;
  uint64_t head_ = 0, tail_ = 0;  // positions in the ring: what is between them is in use
};

}  // namespace bifrons::cuda
