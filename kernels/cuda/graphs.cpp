#include "kernels/cuda/graphs.h"

#include <algorithm>
#include <bit>
#include <exception>
#include <tuple>

#include "kernels/cuda/queue.h"

namespace bifrons::cuda {
namespace {

// What `give` gives to the stream, as a graph; none where that fails, as it may through no fault of ours:
// whoever waits for the whole device, from any thread, ends all captures. The stream is as it was.
cudaGraphExec_t Captured(cudaStream_t stream, const std::function<void()>& give) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  if (cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess) {
    bool given = true;
    try {
      give();
    } catch (const std::exception&) {  // which giving it without a graph will tell, if it was not the graph's
      given = false;
    }
    if (cudaStreamEndCapture(stream, &graph) == cudaSuccess && given &&
        cudaGraphInstantiate(&exec, graph, 0) != cudaSuccess) {
      exec = nullptr;
    }
    if (graph != nullptr) cudaGraphDestroy(graph);
  }
  if (exec == nullptr) cudaGetLastError();  // else the next launch would be blamed for it
  return exec;
}

auto Members(const KvTile& tile) { return std::tie(tile.first_row, tile.rows); }

}  // namespace

bool GraphKey::operator<(const GraphKey& other) const {
  const auto less = [](const KvTile& a, const KvTile& b) { return Members(a) < Members(b); };
  const auto rest = [](const GraphKey& key) {
    return std::tie(key.addresses, key.own_bytes, key.spans, key.batch_bytes, key.page_positions,
                    key.kv_type);
  };
  if (rest(*this) != rest(other)) return rest(*this) < rest(other);
  return std::lexicographical_compare(tiles.begin(), tiles.end(), other.tiles.begin(), other.tiles.end(),
                                      less);
}

// The driver frees a graph that still runs when it is done.
CudaRepetition::~CudaRepetition() {
  for (const auto& [key, graph] : graphs_) {
    if (graph.exec != nullptr) cudaGraphExecDestroy(graph.exec);
  }
}

CudaRepetition::Graph* CudaRepetition::Find(const GraphKey& key) {
  const auto found = graphs_.find(key);
  if (found == graphs_.end()) return nullptr;
  found->second.used = ++clock_;
  return &found->second;
}

void CudaRepetition::Add(const GraphKey& key, Graph graph) {
  graph.used = ++clock_;
  if (!graphs_.try_emplace(key, std::move(graph)).second || graphs_.size() <= kMost) return;
  const auto oldest = std::min_element(graphs_.begin(), graphs_.end(), [](const auto& a, const auto& b) {
    return a.second.used < b.second.used;
  });
  if (oldest->second.exec != nullptr) cudaGraphExecDestroy(oldest->second.exec);
  graphs_.erase(oldest);
}

std::unique_ptr<Repetition> CudaQueue::MakeRepetition() { return std::make_unique<CudaRepetition>(); }

// The first time ops take what memory they need, and what comes only once pays for no graph; the second time
// they are captured.
void CudaQueue::DoRepeat(Repetition& base, std::span<const View> views, const KvBatch& kv_batch,
                         const std::function<void()>& give) {
  const auto& batch = static_cast<const CudaKvBatch&>(kv_batch);
  const auto key = [&] {
    GraphKey now{.addresses = {},
                 .own_bytes = {},
                 .tiles = batch.tiles(),
                 .spans = batch.last_position() / kSpan,
                 .batch_bytes = std::bit_ceil(batch.bytes().size()),
                 .page_positions = batch.pages().shape().page_positions,
                 .kv_type = batch.pages().shape().type};
    for (const View& view : views) now.addresses.push_back(Bytes(view));
    for (const CudaBuffer* own : {scratch_.get(), counters_.get()}) {
      now.addresses.push_back(own == nullptr ? nullptr : own->data());
      now.own_bytes.push_back(own == nullptr ? 0 : own->bytes());
    }
    return now;
  };
  auto& repetition = static_cast<CudaRepetition&>(base);
  CudaRepetition::Graph* const found = repetition.Find(key());
  if (found == nullptr) {
    give();
    const GraphKey after = key();
    return repetition.Add(after,
                          {.batch = std::make_unique<CudaBuffer>(memory_, after.batch_bytes, "a batch")});
  }
  CudaRepetition::Graph& graph = *found;
  if (graph.exec == nullptr) {
    const CudaKvBatch::Elsewhere moved(batch, graph.batch->data());
    const auto alone = memory_.HoldStreams();
    graph.exec = Captured(stream(), give);
  }
  if (graph.exec == nullptr) return give();
  Check(cudaMemcpyAsync(graph.batch->data(), batch.data(), batch.bytes().size(), cudaMemcpyDeviceToDevice,
                        stream()),
        "a batch");
  Check(cudaGraphLaunch(graph.exec, stream()), "a graph of the step");
}

}  // namespace bifrons::cuda
