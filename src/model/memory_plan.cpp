#include "src/model/memory_plan.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include "src/base/available_memory.h"
#include "src/model/kv_pool.h"

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

namespace {

// What a tensor takes once its part is loaded; matrices are packed as stored.
uint64_t PackedBytes(const TensorSpec& spec, DType stored, const ModelParts& parts) {
  const auto elements = static_cast<uint64_t>(spec.shape.elements());
  switch (spec.part) {
    case Part::kLanguage:
      return (spec.name == "lm_head" ? parts.understanding : parts.language) ? elements * SizeOf(stored) : 0;
    case Part::kGeneration:
      return parts.drawing ? elements * SizeOf(stored) : 0;
    case Part::kVqDecoder:
      return parts.vq_decoder ? elements * kConvolutionBytes : 0;
    case Part::kVqEncoder:
      return parts.vq_encoder ? elements * kConvolutionBytes : 0;
    case Part::kVision:
      return parts.understanding ? elements * SizeOf(stored) : 0;
  }
  return 0;
}

// What one half takes while it works, beside its weights.
struct Need {
  uint64_t kv_cache = 0, activations = 0;
};

uint64_t CacheBytes(const LlamaConfig& llama, DType compute, int64_t rows, int64_t positions) {
  return static_cast<uint64_t>(rows) * KvPool::BytesFor(llama, compute, positions);
}

// Of the transformer's buffers for one row, in bytes; `logits` are kept beside them.
uint64_t RowBytes(const LlamaConfig& llama, int64_t logits) {
  return static_cast<uint64_t>(2 * llama.hidden + 2 * llama.heads * llama.head_dim +
                               2 * llama.kv_heads * llama.head_dim + 3 * llama.intermediate + logits) *
         sizeof(float);
}

// Two rows a picture; all pictures are kept as f32.
Need DrawingNeed(const JanusConfig& config, DType compute, int64_t images, int64_t prompt_tokens) {
  const int64_t rows = 2 * images;
  const uint64_t pixels =
      static_cast<uint64_t>(images * config.vq.image_size() * config.vq.image_size() * 3) * sizeof(float);
  const uint64_t row = RowBytes(config.llama, config.gen_head_hidden + config.vq.codebook_size);
  return {CacheBytes(config.llama, compute, rows, config.vq.tokens() + prompt_tokens),
          static_cast<uint64_t>(std::max(rows, rows * prompt_tokens)) * row + pixels};
}

// A row and a kept view of every image; the vision tower looks at one at a time.
Need AnsweringNeed(const JanusConfig& config, DType compute, int64_t images, int64_t prompt_tokens) {
  const SiglipConfig& vision = config.vision;
  const int64_t positions = vision.patches() + prompt_tokens + kPlannedAnswerTokens;
  const int64_t patch_row =
      2 * vision.hidden + std::max(3 * vision.hidden, vision.mlp) + 3 * config.llama.hidden;
  const uint64_t patches =
      static_cast<uint64_t>(vision.patches() * (patch_row + images * config.llama.hidden));
  const int64_t rows = std::max(images, vision.patches() + prompt_tokens);
  return {CacheBytes(config.llama, compute, images, positions),
          patches * sizeof(float) + static_cast<uint64_t>(rows) * RowBytes(config.llama, 0) +
              static_cast<uint64_t>(images * config.llama.vocabulary) * sizeof(float)};
}

// Three maps live at once at every level: input, output, upsampled or shortcut.
uint64_t VqMaps(const JanusConfig& config, DType compute) {
  uint64_t largest = 0;
  const int64_t levels = static_cast<int64_t>(config.vq.channel_multiplier.size());
  for (int64_t l = 0; l < levels; l++) {
    const uint64_t side = static_cast<uint64_t>(config.vq.image_size() >> l);
    // A level's upsampled input has the width of the level below.
    const int64_t widest =
        std::max(config.vq.channel_multiplier[static_cast<size_t>(l)],
                 config.vq.channel_multiplier[static_cast<size_t>(std::min(l + 1, levels - 1))]);
    largest = std::max(largest, side * side * static_cast<uint64_t>(widest * config.vq.base_channels));
  }
  return 3 * largest * SizeOf(compute);
}

}  // namespace

MemoryPlan PlanMemory(const WeightSource& source, DType compute, const ModelParts& parts, int64_t images,
                      int64_t prompt_tokens) {
  const JanusConfig& config = source.config();
  MemoryPlan plan;
  for (const TensorSpec& spec : TensorTable(config)) {
    const int64_t n = spec.shape.elements();
    auto& part = plan.parts[static_cast<int>(spec.part)];
    part.parameters += n;
    part.bytes += static_cast<uint64_t>(n) * SizeOf(source.TypeOf(spec.name));
    plan.weights += PackedBytes(spec, source.TypeOf(spec.name), parts);
  }
  if (parts.understanding && !source.Has("lm_head")) {
    plan.weights += static_cast<uint64_t>(config.llama.vocabulary * config.llama.hidden) *
                    SizeOf(source.TypeOf("llama.embed"));
  }

  const Need drawing = parts.drawing ? DrawingNeed(config, compute, images, prompt_tokens) : Need{};
  const Need answering = parts.understanding ? AnsweringNeed(config, compute, images, prompt_tokens) : Need{};
  // The halves take turns.
  plan.kv_cache = std::max(drawing.kv_cache, answering.kv_cache);
  plan.activations = std::max(drawing.activations, answering.activations);
  if (parts.vq_decoder || parts.vq_encoder) plan.activations += VqMaps(config, compute);
  return plan;
}

Status CheckMemory(const WeightSource& source, DType compute, const ModelParts& parts, uint64_t available) {
  const MemoryPlan plan = PlanMemory(source, compute, parts, 1);
  if (plan.total() <= available) return {};
  return Failure("the model " + source.config().name + " needs " + Gigabytes(plan.total()) +
                 " of memory (weights " + Gigabytes(plan.weights) + ", cache " + Gigabytes(plan.kv_cache) +
                 ", activations " + Gigabytes(plan.activations) + "), but only " + Gigabytes(available) +
                 " can be had; use a smaller model or a machine with more memory");
}

Status CheckMemory(const WeightSource& source, DType compute, const ModelParts& parts) {
  return CheckMemory(source, compute, parts, AvailableMemory());
}

}  // namespace bifrons
