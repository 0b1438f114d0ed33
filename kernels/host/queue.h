// A queue whose work is done where and when it is given: order comes for free, and bringing numbers is
// copying them. What the devices in the host's memory share; their arithmetic is their own.
#pragma once

#include <memory>

#include "kernels/host/memory.h"
#include "kernels/queue.h"

namespace bifrons::host {

class HostQueue : public Queue {
 public:
  Ticket Record() override { return {this, 0}; }
  void After(const Ticket&) override {}
  void Wait(const Ticket&) override {}
  bool Done(const Ticket&) override { return true; }
  std::unique_ptr<KvBatch> MakeBatch(KvPages& pages, std::span<const KvSpan> spans) override;
  void CopyPositions(KvPages& pages, int32_t from, int64_t positions, int32_t to) override;
  void Discard(KvPages& pages, std::span<const int32_t> numbers) override;

 private:
  // What a device's own ops are enough for.
  void DoMultiply(const Linear& weight, View x, RowClass row_class, Epilogue epilogue, View y) override = 0;
  void DoRmsNorm(View x, View weight, float eps, View y) override = 0;
  void DoMultiplyNormed(const Linear& weight, View x, View norm, float eps, RowClass row_class,
                        Epilogue epilogue, View y) override;

  void DoUpload(TensorView from, View to) override;
  Ticket DoDownload(View from, void* to) override;
  void DoCopy(View from, View to) override;
  void DoCopyRows(View from, std::span<const int32_t> rows, View to) override;
  void DoFill(View to, float value) override;

  std::unique_ptr<HostBuffer> normed_;  // x of MultiplyNormed, between its two halves
};

}  // namespace bifrons::host
