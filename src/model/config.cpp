#include "src/model/config.h"

#include <algorithm>
#include <optional>

#include "src/base/json_visitor.h"
#include "src/model/checkpoint/checkpoint.h"
#include "src/model/checkpoint/hub_snapshot.h"
#include "src/model/checkpoint/model_texts.h"

namespace bifrons {
Status CheckModelType(const ModelTexts& texts) {
  const auto config = texts.Get("config.json");
  if (!config.ok()) return {};
  return ParseModelType(config->text, config->path);
}

Result<JanusConfig> LoadConfig(const ModelTexts& texts, const Checkpoint& checkpoint) {
  BIFRONS_TRY(const ModelText file, texts.Get("config.json"));
  BIFRONS_RETURN_IF_ERROR(CheckJsonSize(file.text.size(), kMaxConfigBytes, file.path));
  TensorShapes shapes;
  for (const auto& [name, tensor] : checkpoint.tensors()) shapes[name] = tensor.dims;
  const auto parse = texts.is_gguf() ? ParseGgufConfig : ParseConfig;
  BIFRONS_TRY(JanusConfig config, parse(file.text, shapes, file.path));

  config.name = ModelName(texts.path());
  BIFRONS_TRY(const std::optional<ModelText> generation, texts.Find("generation_config.json"));
  if (generation) {
    BIFRONS_RETURN_IF_ERROR(CheckJsonSize(generation->text.size(), kMaxConfigBytes, generation->path));
    config.guidance_default = ParseGuidance(generation->text, config.guidance_default);
  }
  return config;
}

Status CheckConfig(const JanusConfig& c, const std::string& path) {
  const auto wrong = [&](const std::string& what) { return DataError(path + ": " + what); };
  const auto n = [](int64_t value) { return std::to_string(value); };
  const LlamaConfig& llama = c.llama;
  if (llama.heads % llama.kv_heads != 0) {
    return wrong("num_attention_heads (" + n(llama.heads) + ") is not a multiple of num_key_value_heads (" +
                 n(llama.kv_heads) + ")");
  }
  if (llama.head_dim < 2 || llama.head_dim % 2 != 0) {
    return wrong("head_dim is " + n(llama.head_dim) + "; rotary embeddings need an even one");
  }
  if (llama.heads * llama.head_dim > int64_t{1} << 20) {
    return wrong("num_attention_heads (" + n(llama.heads) + ") times head_dim (" + n(llama.head_dim) +
                 ") is absurd");
  }
  if (c.gen_aligner.output != llama.hidden) {
    return wrong("the generation aligner's width (vq_config.projection_dim, " + n(c.gen_aligner.output) +
                 ") is not the language model's hidden_size (" + n(llama.hidden) + ")");
  }
  const VqConfig& vq = c.vq;
  for (const int64_t multiplier : vq.channel_multiplier) {
    const int64_t channels = vq.base_channels * multiplier;
    if (channels % VqConfig::kNormGroups != 0 || channels > 1 << 17) {
      return wrong("a VQ level has " + n(channels) +
                   " channels (base_channels times channel_multiplier); they must be a "
                   "multiple of its " +
                   n(VqConfig::kNormGroups) + " normalisation groups, and at most " + n(1 << 17));
    }
  }
  if (vq.res_blocks < 1)
    return wrong("the VQ decoder has " + n(vq.res_blocks + 1) +
                 " residual blocks per level, expected 2 or more");
  if (vq.grid < 1 || vq.image_size() > 1 << 13) {
    return wrong("the VQ grid of " + n(vq.grid) + " tokens a side gives pictures of " + n(vq.image_size()) +
                 " pixels a side");
  }
  if (vq.tokens() >= llama.max_positions) {
    return wrong("max_position_embeddings (" + n(llama.max_positions) +
                 ") leaves no room for a prompt before a picture's " + n(vq.tokens()) + " tokens");
  }
  if (c.has_vision) {
    if (c.vision.hidden % c.vision.heads != 0) {
      return wrong("the vision tower's width (" + n(c.vision.hidden) + ") is not a multiple of its " +
                   n(c.vision.heads) + " heads");
    }
    if (c.vision.mlp < 1 || c.vision.image_size < c.vision.patch) {
      return wrong("the vision tower's mlp width (" + n(c.vision.mlp) + ") or image_size (" +
                   n(c.vision.image_size) + ", patches of " + n(c.vision.patch) + ") is absurd");
    }
    if (c.aligner.output != llama.hidden) {
      return wrong("the aligner's width (vision_config.projection_dim, " + n(c.aligner.output) +
                   ") is not the language model's hidden_size (" + n(llama.hidden) + ")");
    }
  }
  return {};
}

Result<JanusConfig> PublishedConfig(const std::string& name) {
  JanusConfig c;
  c.name = name;
  if (name == "janus-1.3b" || name == "janus-pro-1b") {
    c.llama = {.hidden = 2048, .intermediate = 5632, .layers = 24, .heads = 16, .kv_heads = 16};
  } else if (name == "janus-pro-7b") {
    c.llama = {.hidden = 4096, .intermediate = 11008, .layers = 30, .heads = 32, .kv_heads = 32};
  } else {
    std::string known;
    for (const char* one : kPublishedNames) known += (known.empty() ? "" : ", ") + std::string(one);
    return UsageError("there is no published geometry \"" + name + "\"; known: " + known);
  }
  c.llama.head_dim = c.llama.hidden / c.llama.heads;
  c.llama.vocabulary = 102400;
  c.llama.max_positions = 16384;
  c.vq = {.codebook_size = 16384,
          .codebook_dim = 8,
          .latent_channels = 256,
          .base_channels = 128,
          .channel_multiplier = {1, 1, 2, 2, 4},
          .res_blocks = 2,
          .grid = 24};
  c.vision = {.hidden = 1024, .layers = 24, .heads = 16, .mlp = 4096, .patch = 16, .image_size = 384};
  c.aligner = {c.vision.hidden, c.llama.hidden, 2};
  c.gen_aligner = {c.vq.codebook_dim, c.llama.hidden, 2};
  c.gen_head_hidden = c.llama.hidden;
  c.gen_embed_dim = c.vq.codebook_dim;
  return c;
}

}  // namespace bifrons
