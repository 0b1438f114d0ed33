// The ref device's weights and queue.
#pragma once

#include <vector>

#include "kernels/host/queue.h"
#include "src/base/thread_pool.h"

namespace bifrons::ref {

/// Rows of a matrix that are stored in one type.
struct RefRows {
  int64_t out = 0;
  Tensor weight;  // f32 [out, in]: widening is exact; of blocks, the steps
  // Of blocks (kernels/quantize_row.h), f32 [out, in / 32]; else empty.
  Tensor scales, minima;
};

struct RefLinear : Linear {
  std::vector<RefRows> parts;  // stacked along out
  Tensor bias;                 // f32 [out], or empty
};

struct RefConv : Conv2d {
  std::vector<float> weight;  // [out, kernel, kernel, in]
  std::vector<float> bias;    // [out]
};

class RefQueue final : public host::HostQueue {
 public:
  explicit RefQueue(ThreadPool& pool) : pool_(pool) {}

 private:
  // rows.cpp
  void DoMultiply(const Linear& weight, View x, RowClass row_class, Epilogue epilogue, View y) override;
  void DoLookUp(const Table& table, View ids, View y) override;
  void DoRmsNorm(View x, View weight, float eps, View y) override;
  void DoLayerNorm(View x, View weight, View bias, float eps, View y) override;
  void DoStoreKv(View k, View v, const KvBatch& batch, int64_t layer) override;
  void DoRopeStoreKv(View q, View k, View v, const KvBatch& batch, View cos, View sin,
                     int64_t layer) override;
  void DoAttend(View q, const KvBatch& batch, int64_t layer, View y) override;
  void DoAttendAll(const FullAttention& attention, View q, View k, View v, View y) override;
  void DoSample(View logits, std::span<const SampleRequest> requests, View tokens) override;
  // maps.cpp
  void DoConvolve(const Conv2d& conv, View in, View residual, View out) override;
  void DoGroupNorm(View in, View gamma, View beta, int groups, float eps, bool silu, View out) override;
  void DoUpsample2x(View in, View out) override;
  void DoUnfoldPatches(View picture, int64_t patch, View rows) override;
  void DoNearestCodeword(View z, View codebook, View squares, View codes) override;
  void DoToBytes(View in, View out) override;

  ThreadPool& pool_;
};

}  // namespace bifrons::ref
