#include "src/model/memory_plan.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include "src/model/kv_pool.h"
#include "src/model/llama.h"

namespace bifrons {
namespace {

// Of a convolution's weight as backends keep it, the largest: 252 MB for the 42 M weights of the published VQ
// decoder in f32, transformed for Winograd where that is faster.
constexpr uint64_t kConvolutionBytes = 6;

std::string Gigabytes(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GB", static_cast<double>(bytes) / 1e9);
  return text;
}

}  // namespace

uint64_t PackedBytes(const TensorSpec& spec, DType stored, const ModelParts& parts) {
  const uint64_t packed = BytesOf(stored, spec.shape);
  const uint64_t convolution = static_cast<uint64_t>(spec.shape.elements()) * kConvolutionBytes;
  switch (spec.part) {
    case Part::kLanguage:
      return (spec.name == "lm_head" ? parts.understanding : parts.language) ? packed : 0;
    case Part::kGeneration:
      return parts.drawing ? packed : 0;
    case Part::kVqDecoder:
      return parts.vq_decoder ? convolution : 0;
    case Part::kVqEncoder:
      return parts.vq_encoder ? convolution : 0;
    case Part::kVision:
      return parts.understanding ? packed : 0;
  }
  return 0;
}

namespace {

// Of the wanted parts; Device::PackTable's.
bool IsTable(const TensorSpec& spec, const ModelParts& parts) {
  return (parts.language && spec.name == "llama.embed") || (parts.drawing && spec.name == "gen_embed");
}

// Three maps live at once at every level: input, output, upsampled or shortcut.
uint64_t BytesOfVqMaps(const JanusConfig& config, DType compute) {
  int64_t largest = 0;
  const int64_t levels = static_cast<int64_t>(config.vq.channel_multiplier.size());
  for (int64_t l = 0; l < levels; l++) {
    const int64_t side = config.vq.image_size() >> l;
    // A level's upsampled input has the width of the level below.
    const int64_t widest =
        std::max(config.vq.channel_multiplier[static_cast<size_t>(l)],
                 config.vq.channel_multiplier[static_cast<size_t>(std::min(l + 1, levels - 1))]);
    largest = std::max(largest, side * side * widest * config.vq.base_channels);
  }
  return BytesOf(compute, 3 * largest);
}

// The tower's rows while it looks at one image, and the aligner's.
uint64_t TowerBytes(const JanusConfig& config) {
  const SiglipConfig& vision = config.vision;
  const int64_t row = 2 * vision.hidden + std::max(3 * vision.hidden, vision.mlp) + 3 * config.llama.hidden;
  const int64_t pixels = 3 * vision.image_size * vision.image_size;
  return static_cast<uint64_t>(2 * pixels + vision.patches() * row) * sizeof(float);
}

}  // namespace

Status CheckKvType(const LlamaConfig& llama, DType kv) {
  const int64_t block = BlockOf(kv).values;
  if (llama.head_dim % block == 0) return {};
  return UsageError("the model's heads of " + std::to_string(llama.head_dim) +
                    " numbers are no whole blocks of " + std::to_string(block) +
                    ", in which keys and values of 8 bits stand; use --kv 16");
}

WorkingMemory PlanWorkingMemory(const JanusConfig& config, DType compute, const ModelParts& parts,
                                int64_t pictures, int64_t answers) {
  const LlamaConfig& llama = config.llama;
  if (!parts.drawing) pictures = 0;
  const bool sees = parts.understanding && config.has_vision;
  if (!sees) answers = 0;
  WorkingMemory memory;
  if (parts.language) {
    const int64_t layer_row =
        llama.hidden + 2 * (llama.heads + llama.kv_heads) * llama.head_dim + 3 * llama.intermediate;
    const int64_t rows = 2 * pictures + answers;
    // Logits, and what a sampler keeps of them: values and their order.
    const int64_t picture = 2 * (config.gen_head_hidden + config.vq.codebook_size) +
                            2 * config.vq.codebook_size + 3 * llama.hidden;
    const int64_t answer = 3 * llama.vocabulary;
    const int64_t rotary = llama.max_positions * llama.head_dim;
    memory.rows = static_cast<uint64_t>(std::max(kPrefillChunk, rows) * layer_row +
                                        (kPrefillChunk + 2 * rows) * llama.hidden + pictures * picture +
                                        answers * answer + rotary) *
                  sizeof(float);
  }
  if (parts.vq_decoder) memory.maps += BytesOfVqMaps(config, compute);
  if (parts.vq_encoder) memory.maps += BytesOfVqMaps(config, compute);
  if (parts.vq_decoder) {
    const int64_t pixels = config.vq.image_size() * config.vq.image_size() * config.vq.out_channels;
    memory.pictures = static_cast<uint64_t>(2 * pictures * pixels) * sizeof(float);
  }
  if (sees) {
    memory.maps += TowerBytes(config);
    // One question may be about more images than are looked at ahead, as many as the context holds.
    const int64_t most = std::max(kImagesAhead, llama.max_positions / config.vision.patches());
    memory.images = static_cast<uint64_t>(most) * FeatureBytes(config);
  }
  return memory;
}

uint64_t PictureCacheBytes(const LlamaConfig& llama, DType kv, int64_t prompt_tokens, int64_t image_tokens) {
  // The last token is not run.
  return 2 * (KvPool::BytesFor(llama, kv, prompt_tokens + image_tokens - 1) +
              KvPool::BytesFor(llama, kv, prompt_tokens));
}

uint64_t PlannedAnswerCacheBytes(const JanusConfig& config, DType kv, int64_t prompt_tokens) {
  const int64_t positions = config.vision.patches() + prompt_tokens + kPlannedAnswerTokens;
  return KvPool::BytesFor(config.llama, kv, std::min(positions, config.llama.max_positions));
}

uint64_t FeatureBytes(const JanusConfig& config) {
  return static_cast<uint64_t>(config.vision.patches() * config.llama.hidden) * sizeof(float);
}

MemoryPlan PlanMemory(const WeightSource& source, Precision precision, const ModelParts& parts,
                      int64_t images, int64_t prompt_tokens) {
  const JanusConfig& config = source.config();
  MemoryPlan plan;
  for (const TensorSpec& spec : TensorTable(config)) {
    const int64_t n = spec.shape.elements();
    auto& part = plan.parts[static_cast<int>(spec.part)];
    part.parameters += n;
    part.bytes += BytesOf(source.TypeOf(spec.name), spec.shape);
    if (IsTable(spec, parts) && source.InFile(spec.name))
      continue;  // a row is read where and when it is used
    plan.weights += PackedBytes(spec, source.TypeOf(spec.name), parts);
    if (IsTable(spec, parts)) plan.tables += BytesOf(source.TypeOf(spec.name), spec.shape);
  }
  if (parts.understanding && !source.Has("lm_head")) {
    plan.weights += BytesOf(source.TypeOf("llama.embed"), {config.llama.vocabulary, config.llama.hidden});
  }

  const auto count = static_cast<uint64_t>(images);
  // The halves take turns.
  if (parts.drawing)
    plan.kv_cache = count * PictureCacheBytes(config.llama, precision.kv, prompt_tokens, config.vq.tokens());
  plan.activations = PlanWorkingMemory(config, precision.compute, parts, images, images).total();
  if (parts.understanding && config.has_vision) {
    plan.kv_cache =
        std::max(plan.kv_cache, count * PlannedAnswerCacheBytes(config, precision.kv, prompt_tokens));
    plan.activations += count * FeatureBytes(config);
  }
  return plan;
}

MemoryPlan MemoryPlan::WithoutTables() const {
  MemoryPlan plan = *this;
  plan.weights -= tables, plan.tables = 0;
  return plan;
}

Status CheckMemory(const WeightSource& source, Precision precision, const ModelParts& parts,
                   uint64_t available, bool keeps_tables) {
  MemoryPlan plan = PlanMemory(source, precision, parts, 1);
  if (!keeps_tables) plan = plan.WithoutTables();
  const uint64_t usable = WithoutSpare(available);
  if (plan.total() <= usable) return {};
  return Failure("the model " + source.config().name + " needs " + Gigabytes(plan.total()) +
                 " of memory (weights " + Gigabytes(plan.weights) + ", cache " + Gigabytes(plan.kv_cache) +
                 ", activations " + Gigabytes(plan.activations) + "), but of the " + Gigabytes(available) +
                 " that can be had it may take only " + Gigabytes(usable));
}

}  // namespace bifrons
