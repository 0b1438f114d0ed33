#include "src/model/janus.h"

#include <filesystem>

#include "kernels/backend.h"
#include "src/base/stop.h"
#include "src/model/image_processor_json.h"
#include "src/model/memory_plan.h"
#include "src/model/model_path.h"

namespace bifrons {

Result<std::unique_ptr<Janus>> Janus::Load(const LoadOptions& options) {
  BIFRONS_TRY(const std::string model, ResolveModel(options.model));
  BIFRONS_TRY(const Ops* ops, ChooseOps(options.backend, options.isa));
  std::unique_ptr<Janus> janus(new Janus);
  janus->ops_ = ops;
  janus->compute_ = options.compute.value_or(DefaultCompute(*ops));
  janus->parts_ = options.parts;

  BIFRONS_TRY(janus->source_, OpenWeights(model));
  BIFRONS_RETURN_IF_ERROR(janus->CheckParts(model, options.skip_missing_parts));
  BIFRONS_TRY(const std::string tokenizer_folder, TokenizerFolder(model));
  BIFRONS_TRY(Tokenizer tokenizer, Tokenizer::Load(tokenizer_folder));
  janus->tokenizer_ = std::make_unique<Tokenizer>(std::move(tokenizer));
  BIFRONS_TRY(janus->template_, ChooseTemplate(options.chat_template, *janus->tokenizer_));
  BIFRONS_TRY(janus->special_, FindSpecialTokens(*janus->tokenizer_));
  // Filler entries above the vocabulary would index past the embedding.
  if (janus->tokenizer_->size() > janus->config().llama.vocabulary) {
    return DataError(tokenizer_folder + "/tokenizer.json: holds " +
                     std::to_string(janus->tokenizer_->size()) + " tokens, but the model's vocabulary has " +
                     std::to_string(janus->config().llama.vocabulary));
  }
  BIFRONS_RETURN_IF_ERROR(CheckMemory(*janus->source_, janus->compute_, janus->parts_));

  janus->name_ = model.starts_with("random:") ? model : std::filesystem::canonical(model).filename().string();
  janus->pool_ = std::make_unique<ThreadPool>(options.threads > 0 ? options.threads : AvailableThreads());
  if (janus->parts_.language) {
    janus->llama_ = std::make_unique<Llama>(*ops, *janus->pool_, *janus->source_, janus->compute_);
  }
  if (StopRequested()) return Interrupted();
  BIFRONS_RETURN_IF_ERROR(janus->LoadDrawing());
  BIFRONS_RETURN_IF_ERROR(janus->LoadUnderstanding(model));
  if (StopRequested()) return Interrupted();
  return janus;
}

Status Janus::CheckParts(const std::string& model, bool skip_missing) {
  if (skip_missing) {
    parts_.understanding &= config().has_vision;
    parts_.vq_encoder &= config().has_vq_encoder;
  }
  if (parts_.understanding && !config().has_vision) {
    return DataError(model +
                     ": a drawing-only checkpoint without vision tensors: it cannot look at images; use "
                     "a whole Janus model");
  }
  if (parts_.vq_encoder && !config().has_vq_encoder) {
    return DataError(model +
                     ": this checkpoint has no VQ encoder: it cannot turn images into codes; use a whole "
                     "Janus model");
  }
  return {};
}

Fetch Janus::WeightFetch() {
  WeightSource& source = *source_;
  return Fetch([&source](const std::string& name) { return source.Get(name); },
               [&source](const std::string& name) { source.Release(name); });
}

Status Janus::LoadDrawing() {
  WeightSource& source = *source_;
  if (parts_.drawing) {
    gen_embed_ = source.Get("gen_embed");
    gen_aligner_.emplace(*ops_, *pool_, source, "gen_aligner", config().gen_aligner, compute_);
    gen_head_fc_ = PackBiased(*ops_, *pool_, source, "gen_head.fc", compute_);
    gen_head_out_ = PackBiased(*ops_, *pool_, source, "gen_head.out", compute_);
    step_bytes_ =
        llama_->weight_bytes() + gen_head_fc_->bytes + gen_head_out_->bytes + gen_aligner_->weight_bytes();
  }
  if (parts_.vq_decoder) {
    BIFRONS_TRY(vq_, VqDecoder::Create(*pool_, *ops_, config().vq, compute_, WeightFetch()));
  }
  if (parts_.vq_encoder) {
    BIFRONS_TRY(vq_encoder_, VqEncoder::Create(*pool_, *ops_, config().vq, compute_, WeightFetch()));
  }
  return {};
}

Status Janus::LoadUnderstanding(const std::string& model) {
  // The VQ encoder reads images through the same processor, at its own size.
  if (!parts_.understanding && !parts_.vq_encoder) return {};
  const int64_t image_size = config().has_vision ? config().vision.image_size : config().vq.image_size();
  BIFRONS_TRY(image_processor_, LoadImageProcessorConfig(model, image_size));
  if (!parts_.understanding) return {};
  BIFRONS_TRY(image_tokens_, FindImageTokens(*tokenizer_));
  WeightSource& source = *source_;
  BIFRONS_TRY(siglip_, SiglipEncoder::Create(*pool_, *ops_, config().vision, compute_, WeightFetch()));
  aligner_.emplace(*ops_, *pool_, source, "aligner", config().aligner, compute_);
  const std::string head = source.Has("lm_head") ? "lm_head" : "llama.embed";
  const TensorView weight = source.Get(head);
  lm_head_ = ops_->pack_linear(*pool_, {&weight, 1}, {}, compute_);
  if (head == "lm_head") source.Release(head);
  return {};
}

void Janus::ImageLogits(const float* hidden, int64_t rows, float* logits) {
  float* h = Grown(head_hidden_, rows, gen_head_fc_->out);
  ops_->linear(*pool_, *gen_head_fc_, hidden, rows, RowClass::kDecode, false, h);
  ops_->gelu(*pool_, h, rows * gen_head_fc_->out);
  ops_->linear(*pool_, *gen_head_out_, h, rows, RowClass::kDecode, false, logits);
}

void Janus::EmbedImageTokens(std::span<const int32_t> codes, float* x) {
  const auto rows = static_cast<int64_t>(codes.size());
  float* entries = Grown(entries_, rows, config().gen_embed_dim);
  ops_->gather_rows(*pool_, gen_embed_, codes.data(), rows, entries);
  gen_aligner_->Forward(entries, rows, RowClass::kDecode, x);
}

Tensor Janus::EmbedImage(const Image& image) {
  return AlignFeatures(siglip_->Encode(*pool_, Preprocess(image, image_processor_).view()));
}

Tensor Janus::AlignFeatures(const Tensor& features) {
  const int64_t patches = features.shape()[0];
  Tensor aligned(DType::kF32, {patches, config().llama.hidden});
  aligner_->Forward(features.as<float>(), patches, RowClass::kPrefill, aligned.as<float>());
  return aligned;
}

void Janus::TextLogits(const float* hidden, int64_t rows, float* logits) {
  ops_->linear(*pool_, *lm_head_, hidden, rows, RowClass::kDecode, false, logits);
}

}  // namespace bifrons
