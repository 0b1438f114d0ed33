// A loaded Janus: tokenizer, transformer, and the heads and encoders of the halves that were asked for.
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
#include "src/model/projector.h"
#include "src/model/text/chat_template.h"
#include "src/model/text/tokenizer.h"
#include "src/model/weight_source.h"
#include "vision/fetch.h"
#include "vision/image.h"
#include "vision/preprocess.h"
#include "vision/siglip.h"
#include "vision/vq_decoder.h"
#include "vision/vq_encoder.h"

namespace bifrons {

class Janus {
 public:
  /// Loads `options.parts`; what a call below needs must be among them. Errors: a bad model folder or one
  /// that lacks a wanted part (kBadData), an unknown instruction set (kUsage), more memory needed than this
  /// machine has (kFailure, with the numbers), Interrupted().
  static Result<std::unique_ptr<Janus>> Load(const LoadOptions& options);

  const JanusConfig& config() const { return source_->config(); }
  const ModelParts& parts() const { return parts_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const Ops& ops() const { return *ops_; }
  ThreadPool& pool() { return *pool_; }
  Llama& llama() { return *llama_; }
  VqDecoder& vq() { return *vq_; }
  VqEncoder& vq_encoder() { return *vq_encoder_; }
  SiglipEncoder& siglip() { return *siglip_; }
  const ImageProcessorConfig& image_processor() const { return image_processor_; }
  WeightSource& source() { return *source_; }
  const WeightSource& source() const { return *source_; }
  DType compute() const { return compute_; }
  DType kv_type() const { return compute_; }
  ChatTemplate chat_template() const { return template_; }
  /// Ids with a meaning in conversations about images; set with the understanding half only.
  const ImageTokens& image_tokens() const { return image_tokens_; }
  /// "folder's name" or "random:janus-pro-1b"
  const std::string& name() const { return name_; }

  // ---- drawing
  DrawingPrompt EncodePrompt(std::string_view prompt) const {
    return EncodeDrawingPrompt(*tokenizer_, template_, special_, prompt);
  }
  /// hidden [rows, hidden] → logits [rows, codebook_size] over image tokens.
  /// janus/models/modeling_vlm.py: vision_head
  void ImageLogits(const float* hidden, int64_t rows, float* logits);
  /// codes [n] → the transformer's input x [n, hidden]: gen_embed, then gen_aligner.
  /// janus/models/modeling_vlm.py: prepare_gen_img_embeds
  void EmbedImageTokens(std::span<const int32_t> codes, float* x);

  // ---- understanding
  Conversation EncodeTurns(std::span<const Turn> turns) const {
    return EncodeConversation(*tokenizer_, template_, special_, image_tokens_, turns,
                              config().vision.patches());
  }
  /// What stands for an image in the transformer's input, [patches, hidden].
  /// janus/models/modeling_vlm.py: prepare_inputs_embeds
  Tensor EmbedImage(const Image& image);
  /// The aligner alone: features [patches, vision width] → [patches, hidden].
  Tensor AlignFeatures(const Tensor& features);
  /// hidden [rows, hidden] → logits [rows, vocabulary] over text tokens.
  void TextLogits(const float* hidden, int64_t rows, float* logits);

  /// Weight bytes that one decode step of drawing reads: layers, generation head and aligner.
  size_t step_bytes() const { return step_bytes_; }
  /// The same for a step of answering: layers and lm_head.
  size_t text_step_bytes() const { return llama_->weight_bytes() + lm_head_->bytes; }

 private:
  Janus() = default;
  Status CheckParts(const std::string& model, bool skip_missing);
  Status LoadDrawing();
  Status LoadUnderstanding(const std::string& model);
  /// Gives weights to the networks that pack them, and lets the source drop what it made for them.
  Fetch WeightFetch();

  const Ops* ops_ = nullptr;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<WeightSource> source_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Llama> llama_;
  std::optional<VqDecoder> vq_;
  std::optional<VqEncoder> vq_encoder_;
  std::optional<SiglipEncoder> siglip_;
  ModelParts parts_;
  ChatTemplate template_ = ChatTemplate::kJanusPro;
  SpecialTokens special_;
  DType compute_ = DType::kF32;
  std::string name_;
  ImageTokens image_tokens_;
  ImageProcessorConfig image_processor_;
  TensorView gen_embed_;  // [codebook_size, gen_embed_dim]
  std::optional<Projector> gen_aligner_, aligner_;
  std::unique_ptr<Linear> gen_head_fc_, gen_head_out_;
  std::unique_ptr<Linear> lm_head_;
  Tensor head_hidden_, entries_;  // buffers, grown on demand
  size_t step_bytes_ = 0;
};

}  // namespace bifrons
