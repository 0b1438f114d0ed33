// JanusConfig: every number that describes a checkpoint, read from its own files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "vision/siglip_config.h"
#include "vision/vq_config.h"

namespace bifrons {

/// The language model's shape (transformers: LlamaConfig; same defaults).
struct LlamaConfig {
  int64_t hidden = 0;        // model width (2048)
  int64_t intermediate = 0;  // feed-forward width (5632)
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;  // = heads, unless grouped-query
  int64_t head_dim = 0;  // hidden / heads, unless the file says otherwise
  int64_t vocabulary = 0;
  int64_t max_positions = 0;  // positions the rotary embedding was trained for
  float rope_theta = 10000;
  float norm_eps = 1e-6f;
};

/// The two-or-more layer perceptrons between the parts (depth counts linear layers).
struct ProjectorConfig {
  int64_t input = 0;   // codebook_dim for generation, vision width for understanding
  int64_t output = 0;  // model width
  int64_t depth = 2;
};

/// The two published forms of the same model, and our own.
enum class Layout {
  kOriginal,   // deepseek-ai: config `multi_modality`, pytorch_model*.bin
  kConverted,  // deepseek-community: config `janus`, *.safetensors
  kGguf,       // one file: a config as the converted layout's, tensors by the names of our table
};

struct JanusConfig {
  Layout layout = Layout::kConverted;
  std::string name;  // the folder's name, or "janus-pro-1b" of a random model
  LlamaConfig llama;
  VqConfig vq;
  SiglipConfig vision;
  bool has_vision = true;  // false: a drawing-only checkpoint
  bool has_vq_encoder = true;
  ProjectorConfig aligner;      // vision → model width
  ProjectorConfig gen_aligner;  // codebook entry → model width
  int64_t gen_head_hidden = 0;  // image_token_embed: width inside gen_head, may differ from hidden
  int64_t gen_embed_dim = 0;    // width of gen_embed's entries (codebook_dim)
  bool tied_lm_head = false;    // no lm_head stored: the embedding serves
  float guidance_default = 5;   // generation_config.json's guidance_scale where there is one
};

class Checkpoint;
class ModelTexts;

/// Shapes of a checkpoint's tensors by their names in its files: the original layout's config leaves the
/// vision and VQ geometry to them.
using TensorShapes = std::map<std::string, std::vector<int64_t>>;

/// config.json and generation_config.json of more bytes are refused; published ones have a few thousand.
constexpr size_t kMaxConfigBytes = size_t{4} << 20;

/// Reads config.json and, where present, generation_config.json of a model in any layout. Errors (kBadData)
/// name file and field: a missing or absurd number, a variant of the architecture that is not Janus', grids
/// that contradict each other.
Result<JanusConfig> LoadConfig(const ModelTexts& texts, const Checkpoint& checkpoint);

/// An error (kBadData) where a model's config.json names another kind of model than Janus; none where there
/// is no such file, or one that LoadConfig would refuse for another reason.
Status CheckModelType(const ModelTexts& texts);

/// LoadConfig from config.json's text; `path` is for messages. The fuzz target's entry.
Result<JanusConfig> ParseConfig(std::string_view json, const TensorShapes& shapes, const std::string& path);
/// The same of a GGUF, whose tensors have the names of our table: widths that the converted layout has no
/// field for are those of the tensors.
Result<JanusConfig> ParseGgufConfig(std::string_view json, const TensorShapes& shapes,
                                    const std::string& path);

/// CheckModelType of config.json's text.
Status ParseModelType(std::string_view json, const std::string& path);

/// guidance_scale of generation_config.json's text, or `fallback` where there is no sane one.
float ParseGuidance(std::string_view json, float fallback);

/// Whether all parts agree with each other: what every source of a config has to satisfy. `path` is for
/// messages.
Status CheckConfig(const JanusConfig& config, const std::string& path);

inline constexpr const char* kPublishedNames[] = {"janus-1.3b", "janus-pro-1b", "janus-pro-7b"};
/// The published geometry of one of these; kUsage for any other name.
Result<JanusConfig> PublishedConfig(const std::string& name);

}  // namespace bifrons
