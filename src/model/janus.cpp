#include "src/model/janus.h"

#include <filesystem>

#include "kernels/backend.h"
#include "src/model/memory_plan.h"
#include "src/model/model_path.h"

namespace bifrons {

Result<std::unique_ptr<Janus>> Janus::Load(const LoadOptions& options) {
  BIFRONS_TRY(const std::string model, ResolveModel(options.model));
  BIFRONS_TRY(const Ops* ops, ChooseOps(options.backend, options.isa));
  std::unique_ptr<Janus> janus(new Janus);
  janus->ops_ = ops;
  janus->compute_ = options.compute.value_or(DefaultCompute(*ops));

  BIFRONS_TRY(janus->source_, OpenWeights(model));
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
  BIFRONS_RETURN_IF_ERROR(CheckMemory(*janus->source_, janus->compute_));

  janus->name_ = model.starts_with("random:") ? model : std::filesystem::canonical(model).filename().string();
  janus->pool_ = std::make_unique<ThreadPool>(options.threads > 0 ? options.threads : AvailableThreads());
  janus->llama_ = std::make_unique<Llama>(*ops, *janus->pool_, *janus->source_, janus->compute_);
  janus->PackGeneration();
  WeightSource& source = *janus->source_;
  BIFRONS_TRY(janus->vq_, VqDecoder::Create(*janus->pool_, *ops, janus->config().vq, janus->compute_,
                                            [&source](const std::string& name) { return source.Get(name); }));
  return janus;
}

void Janus::PackGeneration() {
  const auto pack = [&](const std::string& name) {
    const TensorView weight = source_->Get(name + ".weight");
    auto linear = ops_->pack_linear(*pool_, {&weight, 1}, source_->Get(name + ".bias"), compute_);
    source_->Release(name + ".weight");
    return linear;
  };
  gen_embed_ = source_->Get("gen_embed");
  for (int64_t i = 0; i < config().gen_aligner.depth; i++) {
    gen_aligner_.push_back(pack("gen_aligner." + std::to_string(i)));
  }
  gen_head_fc_ = pack("gen_head.fc");
  gen_head_out_ = pack("gen_head.out");
  step_bytes_ = llama_->weight_bytes() + gen_head_fc_->bytes + gen_head_out_->bytes;
  for (const auto& linear : gen_aligner_) step_bytes_ += linear->bytes;
}

void Janus::ImageLogits(const float* hidden, int64_t rows, float* logits) {
  if (head_hidden_.empty() || head_hidden_.shape()[0] < rows)
    head_hidden_ = Tensor(DType::kF32, {rows, gen_head_fc_->out});
  float* h = head_hidden_.as<float>();
  ops_->linear(*pool_, *gen_head_fc_, hidden, rows, RowClass::kDecode, false, h);
  ops_->gelu(*pool_, h, rows * gen_head_fc_->out);
  ops_->linear(*pool_, *gen_head_out_, h, rows, RowClass::kDecode, false, logits);
}

void Janus::EmbedImageTokens(std::span<const int32_t> codes, float* x) {
  const int64_t rows = static_cast<int64_t>(codes.size());
  const int64_t width = std::max(config().llama.hidden, config().gen_embed_dim);
  if (aligner_a_.empty() || aligner_a_.shape()[0] < rows) {
    aligner_a_ = Tensor(DType::kF32, {rows, width});
    aligner_b_ = Tensor(DType::kF32, {rows, width});
  }
  float* in = aligner_a_.as<float>();
  float* out = aligner_b_.as<float>();
  ops_->gather_rows(*pool_, gen_embed_, codes.data(), rows, in);
  // The first layer takes the raw entry; GELU stands before every further one.  [janus/models/projector.py:
  // MlpProjector]
  for (size_t i = 0; i < gen_aligner_.size(); i++) {
    if (i > 0) ops_->gelu(*pool_, in, rows * gen_aligner_[i]->in);
    const bool last = i + 1 == gen_aligner_.size();
    ops_->linear(*pool_, *gen_aligner_[i], in, rows, RowClass::kDecode, false, last ? x : out);
    std::swap(in, out);
  }
}

}  // namespace bifrons
