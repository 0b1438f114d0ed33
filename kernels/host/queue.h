// A queue whose work is done where and when it is given: order comes for free, and bringing numbers is
// copying them. What the devices in the host's memory share; their arithmetic is their own.
#pragma once

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

 private:
  void DoUpload(TensorView from, View to) override;
  Ticket DoDownload(View from, void* to) override;
  void DoCopy(View from, View to) override;
  void DoCopyRows(View from, std::span<const int32_t> rows, View to) override;
  void DoFill(View to, float value) override;
};

}  // namespace bifrons::host
