#include "src/model/janus.h"

#include "src/base/out_of_memory.h"
#include "src/base/stop.h"
#include "src/model/checkpoint/hub_snapshot.h"
#include "src/model/choose_device.h"
#include "src/model/image_processor_json.h"
#include "src/model/loading_progress.h"
#include "src/model/memory_plan.h"
#include "src/model/model_path.h"
#include "src/model/quantized_weights.h"

namespace bifrons {

Result<std::unique_ptr<Janus>> Janus::Load(const LoadOptions& options) {
  return Guarded([&]() -> Result<std::unique_ptr<Janus>> {
    BIFRONS_TRY(auto device, ChooseDevice(options));
    return LoadParts(options, std::move(device));
  });
}

Result<std::unique_ptr<Janus>> Janus::Load(const LoadOptions& options, std::unique_ptr<Device> device) {
  return Guarded([&] { return LoadParts(options, std::move(device)); });
}

Result<std::unique_ptr<Janus>> Janus::LoadParts(const LoadOptions& options, std::unique_ptr<Device> device) {
  BIFRONS_TRY(const std::string model, ResolveModel(options.model));
  std::unique_ptr<Janus> janus(new Janus);
  janus->device_ = std::move(device);
  janus->parts_ = options.parts;

  BIFRONS_TRY(janus->source_, OpenWeightsAs(model, options.weights, options.threads));
  BIFRONS_RETURN_IF_ERROR(janus->CheckParts(model, options.skip_missing_parts));
  BIFRONS_TRY(const ModelTexts tokenizer_texts, OpenTokenizerTexts(model));
  BIFRONS_TRY(Tokenizer tokenizer, Tokenizer::Load(tokenizer_texts));
  janus->tokenizer_ = std::make_unique<Tokenizer>(std::move(tokenizer));
  BIFRONS_TRY(janus->template_, ChooseTemplate(options.chat_template, *janus->tokenizer_));
  BIFRONS_TRY(janus->special_, FindSpecialTokens(*janus->tokenizer_));
  // Filler entries above the vocabulary would index past the embedding.
  if (janus->tokenizer_->size() > janus->config().llama.vocabulary) {
    return DataError(tokenizer_texts.path() + "/tokenizer.json: holds " +
                     std::to_string(janus->tokenizer_->size()) + " tokens, but the model's vocabulary has " +
                     std::to_string(janus->config().llama.vocabulary));
  }
  BIFRONS_RETURN_IF_ERROR(janus->CheckFits(options));
  if (options.hash) janus->source_->BeginHash();

  janus->name_ = model.starts_with("random:") ? model : ModelName(model);
  janus->steps_ = janus->device_->MakeQueue();
  janus->images_ = janus->device_->MakeQueue();
  if (options.profile) {
    janus->steps_->ReportTo(*options.profile, "steps");
    janus->images_->ReportTo(*options.profile, "images");
  }
  const LoadingProgress progress(janus->source_, janus->parts_, options.progress);
  if (janus->parts_.understanding) janus->LoadTextHead();
  if (janus->parts_.language) {
    janus->llama_ = std::make_unique<Llama>(*janus->device_, *janus->source_, janus->compute_);
  }
  if (StopRequested()) return Interrupted();
  BIFRONS_RETURN_IF_ERROR(janus->LoadDrawing());
  BIFRONS_RETURN_IF_ERROR(janus->LoadUnderstanding(model));
  if (options.convolutions == Convolutions::kCudnn && janus->device_->convolution_library().empty())
    return Failure("cuDNN has none of the model's convolutions in " + std::string(NameOf(janus->compute_)) +
                   "; --conv own does without cuDNN");
  if (StopRequested()) return Interrupted();
  janus->source_->DropPages();  // headers, and what a fault brought in around a tensor
  return janus;
}

Status Janus::CheckFits(const LoadOptions& options) {
  compute_ = options.compute.value_or(device_->default_compute());
  kv_type_ = options.kv.value_or(compute_);
  BIFRONS_RETURN_IF_ERROR(CheckKvType(config().llama, kv_type_));
  const Status fits =
      CheckMemory(*source_, {compute_, kv_type_}, parts_, device_->FreeMemory(), device_->keeps_tables());
  if (fits.ok()) return fits;
  const std::string& needs = fits.error().message;
  if (device_->backend() != "cuda")
    return Failure(needs + "; use a smaller model or a machine with more memory");
  if (options.device != kAutoDevice || options.convolutions == Convolutions::kCudnn)
    return Failure(needs + "; use a smaller model, a GPU with more memory or --device cpu");
  BIFRONS_TRY(device_, FallBackToCpu(options, fits.error()));
  return CheckFits(options);
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
    gen_embed_ = device_->PackTable(source.Get("gen_embed"));
    gen_aligner_.emplace(*device_, source, "gen_aligner", config().gen_aligner, compute_);
    gen_head_fc_ = PackBiased(*device_, source, "gen_head.fc", compute_);
    gen_head_out_ = PackBiased(*device_, source, "gen_head.out", compute_);
    step_bytes_ =
        llama_->weight_bytes() + gen_head_fc_->bytes + gen_head_out_->bytes + gen_aligner_->weight_bytes();
  }
  if (parts_.vq_decoder) {
    BIFRONS_TRY(vq_, VqDecoder::Create(*device_, config().vq, compute_, WeightFetch()));
  }
  if (parts_.vq_encoder) {
    BIFRONS_TRY(vq_encoder_, VqEncoder::Create(*device_, config().vq, compute_, WeightFetch()));
  }
  return {};
}

Status Janus::LoadUnderstanding(const std::string& model) {
  // The VQ encoder reads images through the same processor, at its own size.
  if (!parts_.understanding && !parts_.vq_encoder) return {};
  const int64_t image_size = config().has_vision ? config().vision.image_size : config().vq.image_size();
  BIFRONS_TRY(const ModelTexts texts, OpenModelTexts(model));
  BIFRONS_TRY(image_processor_, LoadImageProcessorConfig(texts, image_size));
  if (!parts_.understanding) return {};
  BIFRONS_TRY(image_tokens_, FindImageTokens(*tokenizer_));
  WeightSource& source = *source_;
  BIFRONS_TRY(siglip_, SiglipEncoder::Create(*device_, config().vision, compute_, WeightFetch()));
  aligner_.emplace(*device_, source, "aligner", config().aligner, compute_);
  return {};
}

// Before everything else: the largest tensor stands beside its packed form when nothing else is packed yet.
void Janus::LoadTextHead() {
  WeightSource& source = *source_;
  const std::string head = source.Has("lm_head") ? "lm_head" : "llama.embed";
  const TensorView weight = source.Get(head);
  lm_head_ = device_->PackLinear({&weight, 1}, {}, compute_);
  if (head == "lm_head") {
    source.Release(head);
  } else {
    source.DropPages();
  }
}

void Janus::ImageLogits(Queue& queue, View hidden, View logits) {
  const Within within(queue, Zone::kHead);
  const View h = Grown(*device_, head_hidden_, hidden.rows(), gen_head_fc_->out);
  queue.Multiply(*gen_head_fc_, hidden, RowClass::kDecode, Epilogue::kGelu, h);
  queue.Multiply(*gen_head_out_, h, RowClass::kDecode, Epilogue::kNone, logits);
}

void Janus::EmbedImageTokens(Queue& queue, View codes, View x) {
  const Within within(queue, Zone::kEmbed);
  const View entries = Grown(*device_, entries_, codes.rows(), config().gen_embed_dim);
  queue.LookUp(*gen_embed_, codes, entries);
  gen_aligner_->Forward(queue, entries, RowClass::kDecode, x);
}

EmbeddedImage Janus::EmbedImage(const Image& image) {
  return AlignFeatures(SeePixels(Preprocess(image, image_processor_).view()).view());
}

DeviceTensor Janus::SeePixels(TensorView pixel_values) {
  const DeviceTensor pixels = device_->NewTensor(DType::kF32, pixel_values.shape);
  images_->Upload(pixel_values, pixels.view());
  return siglip_->Encode(*images_, pixels.view());
}

EmbeddedImage Janus::AlignFeatures(View features) {
  const Within within(*images_, "aligner");
  EmbeddedImage image{device_->NewTensor(DType::kF32, {features.rows(), config().llama.hidden}), {}};
  aligner_->Forward(*images_, features, RowClass::kPrefill, image.rows.view());
  image.ready = images_->Record();
  return image;
}

void Janus::TextLogits(Queue& queue, View hidden, View logits) {
  const Within within(queue, Zone::kHead);
  queue.Multiply(*lm_head_, hidden, RowClass::kDecode, Epilogue::kNone, logits);
}

}  // namespace bifrons
