// A loaded Janus: tokenizer, transformer, and the heads and encoders of the halves that were asked for.
// janus/models/modeling_vlm.py: MultiModalityCausalLM
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "kernels/device.h"
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

/// What stands for an image in the transformer's input.
struct EmbeddedImage {
  DeviceTensor rows;  // f32 [patches, hidden]
  Ticket ready;       // of images(): what other queues wait for before they read it
};

/// Work on prompts and steps goes through one queue, work on whole images (vision tower, VQ encoder and
/// decoder) through another, so that neither waits for the other. The networks keep their buffers from call
/// to call, and therefore each of them belongs to one queue: the transformer and the heads to steps(), the
/// rest to images().
class Janus {
 public:
  /// Loads `options.parts`; what a call below needs must be among them. Errors: a bad model folder or one
  /// that lacks a wanted part (kBadData), an unknown instruction set (kUsage), more memory needed than this
  /// machine has (kFailure, with the numbers), Interrupted().
  static Result<std::unique_ptr<Janus>> Load(const LoadOptions& options);
  /// The same on this device, whatever the options say of one.
  static Result<std::unique_ptr<Janus>> Load(const LoadOptions& options, std::unique_ptr<Device> device);

  const JanusConfig& config() const { return source_->config(); }
  const ModelParts& parts() const { return parts_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  Device& device() { return *device_; }
  Queue& steps() { return *steps_; }
  Queue& images() { return *images_; }
  Llama& llama() { return *llama_; }
  VqDecoder& vq() { return *vq_; }
  VqEncoder& vq_encoder() { return *vq_encoder_; }
  SiglipEncoder& siglip() { return *siglip_; }
  const ImageProcessorConfig& image_processor() const { return image_processor_; }
  WeightSource& source() { return *source_; }
  const WeightSource& source() const { return *source_; }
  DType compute() const { return compute_; }
  DType kv_type() const { return kv_type_; }
  /// Pages for keys and values of this model, which nobody has taken yet; for steps().
  std::shared_ptr<KvPool> MakeKvPool() {
    return std::make_shared<KvPool>(*device_, KvShapeOf(config().llama, kv_type()));
  }
  ChatTemplate chat_template() const { return template_; }
  /// Ids with a meaning in conversations about images; set with the understanding half only.
  const ImageTokens& image_tokens() const { return image_tokens_; }
  /// "folder's name" or "random:janus-pro-1b"
  const std::string& name() const { return name_; }

  // ---- drawing
  DrawingPrompt EncodePrompt(std::string_view prompt) const {
    return EncodeDrawingPrompt(*tokenizer_, template_, special_, prompt);
  }
  /// hidden f32 [rows, hidden] → logits f32 [rows, codebook_size] over image tokens.
  /// janus/models/modeling_vlm.py: vision_head
  void ImageLogits(Queue& queue, View hidden, View logits);
  /// codes i32 [n] → the transformer's input x f32 [n, hidden]: gen_embed, then gen_aligner.
  /// janus/models/modeling_vlm.py: prepare_gen_img_embeds
  void EmbedImageTokens(Queue& queue, View codes, View x);

  // ---- understanding
  Conversation EncodeTurns(std::span<const Turn> turns) const {
    return EncodeConversation(*tokenizer_, template_, special_, image_tokens_, turns,
                              config().vision.patches());
  }
  /// What stands for an image in the transformer's input. Given to images().
  /// janus/models/modeling_vlm.py: prepare_inputs_embeds
  EmbeddedImage EmbedImage(const Image& image);
  /// The vision tower alone: pixel_values f32 [3, image_size, image_size] to features f32 [patches, vision
  /// width]. Given to images().
  DeviceTensor SeePixels(TensorView pixel_values);
  /// The aligner alone: features f32 [patches, vision width] → [patches, hidden]. Given to images().
  EmbeddedImage AlignFeatures(View features);
  /// hidden f32 [rows, hidden] → logits f32 [rows, vocabulary] over text tokens.
  void TextLogits(Queue& queue, View hidden, View logits);

  /// Weight bytes that one decode step of drawing reads: layers, generation head and aligner.
  size_t step_bytes() const { return step_bytes_; }
  /// The same for a step of answering: layers and lm_head.
  size_t text_step_bytes() const { return llama_->weight_bytes() + lm_head_->bytes; }

 private:
  Janus() = default;
  Status CheckParts(const std::string& model, bool skip_missing);
  /// Chooses the arithmetic and the caches' type, and another device where the model does not fit and the
  /// options leave the choice.
  Status CheckFits(const LoadOptions& options);
  static Result<std::unique_ptr<Janus>> LoadParts(const LoadOptions& options, std::unique_ptr<Device> device);
  void LoadTextHead();
  Status LoadDrawing();
  Status LoadUnderstanding(const std::string& model);
  /// Gives weights to the networks that pack them, and lets the source drop what it made for them.
  Fetch WeightFetch();

  std::unique_ptr<Device> device_;  // first: it outlives all that it made
  std::unique_ptr<WeightSource> source_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Llama> llama_;
  std::optional<VqDecoder> vq_;
  std::optional<VqEncoder> vq_encoder_;
  std::optional<SiglipEncoder> siglip_;
  ModelParts parts_;
  ChatTemplate template_ = ChatTemplate::kJanusPro;
  SpecialTokens special_;
  DType compute_ = DType::kF32, kv_type_ = DType::kF32;
  std::string name_;
  ImageTokens image_tokens_;
  ImageProcessorConfig image_processor_;
  std::unique_ptr<Table> gen_embed_;  // [codebook_size, gen_embed_dim]
  std::optional<Projector> gen_aligner_, aligner_;
  std::unique_ptr<Linear> gen_head_fc_, gen_head_out_;
  std::unique_ptr<Linear> lm_head_;
  DeviceTensor head_hidden_, entries_;  // buffers, grown on demand
  size_t step_bytes_ = 0;
  std::unique_ptr<Queue> steps_, images_;  // last: their work ends before what it is done with goes
};

}  // namespace bifrons
