// A loaded Janus: tokenizer, transformer, generation head and VQ decoder, ready to draw.
// janus/models/modeling_vlm.py: MultiModalityCausalLM
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "kernels/ops.h"
#include "src/base/result.h"
#include "src/model/llama.h"
#include "src/model/load_options.h"
#include "src/model/text/chat_template.h"
#include "src/model/text/tokenizer.h"
#include "src/model/weight_source.h"
#include "vision/vq_decoder.h"

namespace bifrons {

class Janus {
 public:
  /// Errors: a bad model folder (kBadData), an unknown instruction set (kUsage), more memory needed than this
  /// machine has (kFailure, with the numbers).
  static Result<std::unique_ptr<Janus>> Load(const LoadOptions& options);

  const JanusConfig& config() const { return source_->config(); }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const Ops& ops() const { return *ops_; }
  ThreadPool& pool() { return *pool_; }
  Llama& llama() { return *llama_; }
  VqDecoder& vq() { return *vq_; }
  WeightSource& source() { return *source_; }
  DType compute() const { return compute_; }
  DType kv_type() const { return compute_; }
  ChatTemplate chat_template() const { return template_; }
  /// "folder's name" or "random:janus-pro-1b"
  const std::string& name() const { return name_; }

  DrawingPrompt EncodePrompt(std::string_view prompt) const {
    return EncodeDrawingPrompt(*tokenizer_, template_, special_, prompt);
  }

  /// hidden [rows, hidden] → logits [rows, codebook_size] over image tokens.
  /// janus/models/modeling_vlm.py: vision_head
  void ImageLogits(const float* hidden, int64_t rows, float* logits);
  /// codes [n] → the transformer's input x [n, hidden]: gen_embed, then gen_aligner.
  /// janus/models/modeling_vlm.py: prepare_gen_img_embeds
  void EmbedImageTokens(std::span<const int32_t> codes, float* x);

  /// Weight bytes that one decode step reads: layers, generation head and aligner.
  size_t step_bytes() const { return step_bytes_; }

 private:
  Janus() = default;
  void PackGeneration();

  const Ops* ops_ = nullptr;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<WeightSource> source_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Llama> llama_;
  std::optional<VqDecoder> vq_;
  ChatTemplate template_ = ChatTemplate::kJanusPro;
  SpecialTokens special_;
  DType compute_ = DType::kF32;
  std::string name_;
  TensorView gen_embed_;                              // [codebook_size, gen_embed_dim]
  std::vector<std::unique_ptr<Linear>> gen_aligner_;  // GELU between them
  std::unique_ptr<Linear> gen_head_fc_, gen_head_out_;
  Tensor head_hidden_, aligner_a_, aligner_b_;  // buffers, grown on demand
  size_t step_bytes_ = 0;
};

}  // namespace bifrons
