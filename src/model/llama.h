// The Llama transformer, written once over a Queue and over ragged batches of rows: prefill, decode, guidance
// pairs and several pictures at once are the same call with different spans.
// transformers/models/llama/modeling_llama.py: LlamaModel
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernels/device.h"
#include "kernels/layer_observer.h"
#include "src/model/config.h"
#include "src/model/kv_cache.h"
#include "src/model/weight_source.h"

namespace bifrons {

/// Prompts are prefilled in chunks of this many positions, whatever else is going on: the chunking is part of
/// what a prompt's numbers are. What is kept of a cache for a longer prompt is therefore whole chunks.
constexpr int64_t kPrefillChunk = 256;

/// `rows` consecutive rows of a batch that continue one sequence at position `start`.
struct SequenceSpan {
  KvCache* cache = nullptr;
  int64_t start = 0;
  int64_t rows = 0;
  RowClass row_class = RowClass::kDecode;
};

class Llama {
 public:
  /// Packs the weights of `source` for `compute` arithmetic. Throws OutOfMemory, as everything here does.
  Llama(Device& device, WeightSource& source, DType compute);

  /// x f32 [rows, hidden]: embeddings in, final-normed hidden states out; rows are those of `spans`, in
  /// order, whose caches are of one pool. Keys and values are written at each span's positions, which must be
  /// below max_positions. All calls are for one queue, as they share buffers.
  void Forward(Queue& queue, std::span<const SequenceSpan> spans, View x);

  /// Embeddings of text ids i32 [n] → x f32 [n, hidden].
  void EmbedText(Queue& queue, View ids, View x) const {
    const Within within(queue, Zone::kEmbed);
    queue.LookUp(*embed_, ids, x);
  }

  /// From now on `observer` sees every pass; an empty one ends it.
  void ObserveLayers(LayerObserver observer) { observer_ = std::move(observer); }

  const LlamaConfig& config() const { return config_; }
  /// Bytes of the layers' weights, which every forward pass reads once.
  size_t weight_bytes() const { return weight_bytes_; }

 private:
  struct Layer {
    DeviceTensor attention_norm, ffn_norm;  // f32 [hidden]
    std::unique_ptr<Linear> qkv;            // [(heads + 2·kv_heads)·head_dim, hidden]
    std::unique_ptr<Linear> o;              // [hidden, heads·head_dim]
    std::unique_ptr<Linear> gate_up;        // [2·intermediate, hidden]
    std::unique_ptr<Linear> down;           // [hidden, intermediate]
  };
  // Buffers of one batch, f32 [rows, …], grown to the largest seen.
  struct Activations {
    DeviceTensor qkv, attended, ffn;
  };

  static constexpr int64_t kRotaryBlock = 1024;

  std::unique_ptr<KvBatch> MakeBatch(Queue& queue, std::span<const SequenceSpan> spans);
  void ReserveRotary(int64_t positions);

  Device& device_;
  LlamaConfig config_;
  std::unique_ptr<Table> embed_;  // [vocabulary, hidden]
  std::vector<Layer> layers_;
  DeviceTensor norm_;       // f32 [hidden]
  DeviceTensor cos_, sin_;  // f32 [positions, head_dim/2]
  Activations activations_;
  std::unique_ptr<Repetition> decode_;  // what the queue keeps of the layers' ops for sampled tokens
  size_t weight_bytes_ = 0;
  LayerObserver observer_;
};

}  // namespace bifrons
