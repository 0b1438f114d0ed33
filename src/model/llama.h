// The Llama transformer, written once over Ops and over ragged batches of rows: prefill, decode, guidance
// pairs and several pictures at once are the same call with different spans.
// transformers/models/llama/modeling_llama.py: LlamaModel
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kernels/ops.h"
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
  /// Packs the weights of `source` for `compute` arithmetic.
  Llama(const Ops& ops, ThreadPool& pool, WeightSource& source, DType compute);

  /// x [rows, hidden]: embeddings in, final-normed hidden states out; rows are those of `spans`, in order.
  /// Keys and values are written at each span's positions, which must be below max_positions().
  void Forward(std::span<const SequenceSpan> spans, float* x);

  /// Embeddings of text ids [n] → x [n, hidden].
  void EmbedText(std::span<const int32_t> ids, float* x) const;

  const LlamaConfig& config() const { return config_; }
  /// Bytes of the layers' weights, which every forward pass reads once.
  size_t weight_bytes() const { return weight_bytes_; }

 private:
  struct Layer {
    std::vector<float> attention_norm, ffn_norm;  // [hidden]
    std::unique_ptr<Linear> qkv;                  // [(heads + 2·kv_heads)·head_dim, hidden]
    std::unique_ptr<Linear> o;                    // [hidden, heads·head_dim]
    std::unique_ptr<Linear> gate_up;              // [2·intermediate, hidden]
    std::unique_ptr<Linear> down;                 // [hidden, intermediate]
  };
  // Buffers of one batch, grown to the largest seen.
  struct Activations {
    int64_t rows = 0;
    Tensor normed, qkv, attended, gate_up, ffn;
    std::vector<int32_t> positions;
    std::vector<KvSpan> spans;
  };

  static constexpr int64_t kRotaryBlock = 1024;

  void Reserve(int64_t rows);
  void ReserveRotary(int64_t positions);
  void Product(const Linear& weight, std::span<const SequenceSpan> spans, const float* x, bool accumulate,
               float* y);

  const Ops& ops_;
  ThreadPool& pool_;
  LlamaConfig config_;
  TensorView embed_;  // [vocabulary, hidden], in the source's memory
  std::vector<Layer> layers_;
  std::vector<float> norm_;  // [hidden]
  Tensor cos_, sin_;         // f32 [rotary_positions, head_dim/2]
  int64_t rotary_positions_ = 0;
  Activations activations_;
  size_t weight_bytes_ = 0;
};

}  // namespace bifrons
