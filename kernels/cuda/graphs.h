// Ops that a queue is given again and again, kept as CUDA graphs: one launch instead of a hundred.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "kernels/cuda/kv_pages.h"
#include "kernels/queue.h"

namespace bifrons::cuda {

/// All that a kept graph has in it, beside weights: graphs of equal keys do the same.
struct GraphKey {
  std::vector<const uint8_t*> addresses;  // of views and of the queue's own memory
  std::vector<size_t> own_bytes;          // of that
  std::vector<KvTile> tiles;              // of the batch, which decide launches
  int64_t spans = 0;                      // of positions, which decide grids
  size_t batch_bytes = 0;                 // room for the batch's places
  int64_t page_positions = 0;             // of the batch's pages
  DType kv_type = DType::kF32;

  bool operator<(const GraphKey& other) const;
};

/// Graphs of one Queue::Repeat's ops.
class CudaRepetition final : public Repetition {
 public:
  CudaRepetition() = default;
  ~CudaRepetition() override;

  /// Work that was captured, and the place where its kernels find a batch's pages, rows and tiles.
  struct Graph {
    cudaGraphExec_t exec = nullptr;  // none: given once, not captured yet
    std::unique_ptr<CudaBuffer> batch;
    uint64_t used = 0;  // by the clock of this repetition
  };

  /// Null where there is none.
  Graph* Find(const GraphKey& key);
  /// Of at most kMost, the one that was not used for longest goes.
  void Add(const GraphKey& key, Graph graph);

 private:
  static constexpr size_t kMost = 32;
  std::map<GraphKey, Graph> graphs_;
  uint64_t clock_ = 0;
};

}  // namespace bifrons::cuda
