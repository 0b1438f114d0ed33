// config.json of both layouts → JanusConfig. Absent fields have the defaults of the class that wrote the
// file.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "src/base/json_visitor.h"
#include "src/base/name_sample.h"
#include "src/base/printable.h"
#include "src/model/config.h"
#include "src/model/config_fields.h"
#include "src/model/tensor_table.h"

namespace bifrons {
namespace {

using Json = nlohmann::json;

// Bounds that no real model comes near, small enough that products of a few of them fit in 63 bits.
constexpr int64_t kMaxWidth = 1 << 17;
constexpr int64_t kMaxLayers = 2048;
constexpr int64_t kMaxEntries = 1 << 22;  // vocabulary, codebook, positions
constexpr int64_t kMaxResBlocks = 64;

// transformers/models/llama/configuration_llama.py: LlamaConfig, with its defaults
LlamaConfig ReadLlama(const Fields& text) {
  text.Require("model_type", "llama");
  text.Require("hidden_act", "silu");
  text.Require("attention_bias", false);
  text.Require("mlp_bias", false);
  LlamaConfig c;
  c.hidden = text.Int("hidden_size", 4096, 1, kMaxWidth);
  c.intermediate = text.Int("intermediate_size", 11008, 1, 8 * kMaxWidth);
  c.layers = text.Int("num_hidden_layers", 32, 1, kMaxLayers);
  c.heads = text.Int("num_attention_heads", 32, 1, 4096);
  c.kv_heads = text.Int("num_key_value_heads", c.heads, 1, 4096);
  c.head_dim = text.Int("head_dim", c.hidden / c.heads, 1, 4096);
  if (!text.Has("head_dim") && c.hidden % c.heads != 0) {
    text.Report("hidden_size", "(" + std::to_string(c.hidden) +
                                   ") is not a multiple of num_attention_heads (" + std::to_string(c.heads) +
                                   ")");
  }
  c.vocabulary = text.Int("vocab_size", 32000, 1, kMaxEntries);
  c.max_positions = text.Int("max_position_embeddings", 2048, 1, kMaxEntries);
  c.norm_eps = static_cast<float>(text.Number("rms_norm_eps", 1e-6, 0, 1));
  // Up to transformers 4 rope_theta and rope_scaling, since 5 rope_parameters holds both.
  const Fields parameters = text.Object("rope_parameters");
  const Fields scaling = text.Object("rope_scaling");
  const double theta = text.Number("rope_theta", 10000, 1, 1e12);
  c.rope_theta = static_cast<float>(parameters.Number("rope_theta", theta, 1, 1e12));
  for (const Fields& rope : {parameters, scaling}) {
    for (const char* key : {"rope_type", "type"}) rope.Require(key, "default");
    rope.Require("partial_rotary_factor", 1.0);
  }
  if (scaling.Has("factor") && !scaling.Has("rope_type") && !scaling.Has("type")) {
    text.Report("rope_scaling", "names no type; scaled rotary embeddings are not supported");
  }
  text.Require("partial_rotary_factor", 1.0);
  return c;
}

bool AnyWithPrefix(const TensorShapes& shapes, const std::string& prefix) {
  const auto it = shapes.lower_bound(prefix);
  return it != shapes.end() && it->first.starts_with(prefix);
}

// Geometry from the shapes of the tensors of a layout's files.
class Shapes {
 public:
  Shapes(const TensorShapes& shapes, Layout layout, Problem& problem)
      : shapes_(shapes), layout_(layout), problem_(problem) {}

  /// Dimension `axis` of a tensor of `rank` dimensions; a missing tensor or an absurd size is reported.
  int64_t Dim(const std::string& name, size_t rank, size_t axis, int64_t high) const {
    const auto it = shapes_.find(name);
    if (it == shapes_.end()) {
      ReportMissing(name);
      return 1;
    }
    if (it->second.size() != rank) {
      problem_.Report("tensor " + name + " has " + std::to_string(it->second.size()) +
                      " dimensions, expected " + std::to_string(rank));
      return 1;
    }
    const int64_t dim = it->second[axis];
    if (dim < 1 || dim > high) {
      problem_.Report("tensor " + name + " has an absurd dimension: " + std::to_string(dim));
      return 1;
    }
    return dim;
  }

  /// How many of prefix + "0" + suffix, prefix + step + suffix, … there are without a gap; at least 1 is
  /// required.
  int64_t Count(const std::string& prefix, const std::string& suffix, int64_t high, int64_t step = 1) const {
    int64_t count = 0;
    while (count < high && shapes_.contains(prefix + std::to_string(count * step) + suffix)) count++;
    if (count == 0) ReportMissing(prefix + "0" + suffix);
    return std::max<int64_t>(count, 1);
  }

  bool Has(const std::string& name) const { return shapes_.contains(name); }

 private:
  void ReportMissing(const std::string& name) const {
    if (problem_.error) return;  // the first one counts, and the names take time
    NameSample others;
    const PublishedNames known(layout_);
    for (const auto& [other, dims] : shapes_) {
      if (!known.Contains(other) && !IsDropped(other)) others.Add(other);
    }
    problem_.Report("the model's files lack tensor " + name + ", which the geometry is read from" +
                    (others.count() == 0 ? ""
                                         : "; they hold " + others.Counted("tensor") +
                                               " that no Janus has: " + others.ToString()));
  }

  const TensorShapes& shapes_;
  Layout layout_;
  Problem& problem_;
};

// ---- converted ----------------------------------------------------------------------------------

// transformers/models/janus/configuration_janus.py, with its defaults; of a GGUF too.
JanusConfig ReadConverted(const Fields& root, Layout layout, const TensorShapes& tensor_shapes,
                          Problem& problem) {
  JanusConfig c;
  c.layout = layout;
  c.llama = ReadLlama(root.Object("text_config"));

  const Fields vision = root.Object("vision_config");
  vision.Require("hidden_act", "gelu");
  vision.Require("use_qk_norm", false);
  vision.Require("attention_bias", true);
  vision.Require("num_channels", 3);
  c.vision.hidden = vision.Int("hidden_size", 1024, 1, kMaxWidth);
  c.vision.layers = vision.Int("num_hidden_layers", 24, 1, kMaxLayers);
  c.vision.heads = vision.Int("num_attention_heads", 16, 1, 4096);
  c.vision.image_size = vision.Side("image_size", 384);
  c.vision.patch = vision.Side("patch_size", 16);
  c.vision.norm_eps = static_cast<float>(vision.Number("layer_norm_eps", 1e-6, 0, 1));
  const double ratio = vision.Number("mlp_ratio", 4, 1e-3, 64);
  c.vision.mlp = static_cast<int64_t>(static_cast<double>(c.vision.hidden) * ratio);
  // Written by early versions beside mlp_ratio, which is what their model used as well.
  if (!vision.Has("mlp_ratio"))
    c.vision.mlp = vision.Int("intermediate_size", c.vision.mlp, 1, 64 * kMaxWidth);
  c.aligner = {c.vision.hidden, vision.Int("projection_dim", 2048, 1, kMaxWidth),
               vision.Int("depth", 2, 1, 64)};

  const Fields vq = root.Object("vq_config");
  vq.Require("hidden_act", "gelu");
  vq.Require("double_latent", false);
  vq.Require("in_channels", 3);
  vq.Require("out_channels", 3);
  c.vq.codebook_size = vq.Int("num_embeddings", 16384, 1, kMaxEntries);
  c.vq.codebook_dim = vq.Int("embed_dim", 8, 1, 4096);
  c.vq.latent_channels = vq.Int("latent_channels", 256, 1, kMaxWidth);
  c.vq.base_channels = vq.Int("base_channels", 128, 1, kMaxWidth);
  c.vq.channel_multiplier = vq.IntList("channel_multiplier", {1, 1, 2, 2, 4}, 1024);
  c.vq.res_blocks = vq.Int("num_res_blocks", 2, 1, kMaxResBlocks);
  // JanusConfig overwrites num_patches with the vision tower's grid, so a file that says otherwise is wrong.
  const int64_t grid = c.vision.image_size / c.vision.patch;
  c.vq.grid = vq.Int("num_patches", grid, 1, kMaxSide);
  if (c.vq.grid != grid && layout == Layout::kConverted) {
    vq.Report("num_patches", "is " + std::to_string(c.vq.grid) +
                                 ", but vision_config's image_size / patch_size is " + std::to_string(grid) +
                                 ": the grids do not match");
  }
  const int64_t projection = vq.Int("projection_dim", 2048, 1, kMaxWidth);
  c.gen_embed_dim = c.vq.codebook_dim;
  c.gen_aligner = {c.gen_embed_dim, projection, vq.Int("num_hidden_layers", 2, 1, 64)};
  c.gen_head_hidden = projection;
  const int64_t head_input = vq.Int("image_token_embed_dim", 2048, 1, kMaxWidth);
  if (head_input != c.llama.hidden) {
    vq.Report("image_token_embed_dim", "is " + std::to_string(head_input) +
                                           ", but text_config.hidden_size is " +
                                           std::to_string(c.llama.hidden));
  }

  const bool converted = layout == Layout::kConverted;
  const auto any = [&](const char* prefix) { return AnyWithPrefix(tensor_shapes, prefix); };
  if (converted) {
    c.has_vision = any("model.vision_model.") || any("model.aligner.");
    c.has_vq_encoder = any("model.vqmodel.encoder.") || any("model.vqmodel.quant_conv.");
  } else {
    const Shapes shapes(tensor_shapes, layout, problem);
    c.gen_head_hidden = shapes.Dim("gen_head.fc.weight", 2, 0, kMaxWidth);
    c.gen_embed_dim = c.gen_aligner.input = shapes.Dim("gen_embed", 2, 1, 4096);
    c.has_vision = any("siglip.") || any("aligner.");
    c.has_vq_encoder = any("vq.encoder.") || any("vq.quant_conv.");
  }
  c.tied_lm_head = !tensor_shapes.contains(converted ? "lm_head.weight" : "lm_head");
  return c;
}

// ---- original -----------------------------------------------------------------------------------

// janus/models/vq_model.py: Decoder. Level 0 of the files is the lowest resolution.
VqConfig VqFromShapes(const Shapes& shapes) {
  const std::string decoder = "gen_vision_model.decoder.";
  VqConfig vq;
  vq.codebook_size = shapes.Dim("gen_vision_model.quantize.embedding.weight", 2, 0, kMaxEntries);
  vq.codebook_dim = shapes.Dim("gen_vision_model.quantize.embedding.weight", 2, 1, 4096);
  vq.latent_channels = shapes.Dim("gen_vision_model.post_quant_conv.weight", 4, 0, kMaxWidth);
  const int64_t levels = shapes.Count(decoder + "conv_blocks.", ".res.0.conv1.weight", kMaxLevels);
  vq.res_blocks = shapes.Count(decoder + "conv_blocks.0.res.", ".conv1.weight", kMaxResBlocks) - 1;
  std::vector<int64_t> widths;
  for (int64_t level = levels - 1; level >= 0; level--) {
    widths.push_back(shapes.Dim(decoder + "conv_blocks." + std::to_string(level) + ".res.0.conv1.weight", 4,
                                0, kMaxWidth));
  }
  // Only the encoder shows the base width by itself; without it any common divisor describes the same
  // decoder.
  vq.base_channels = 0;
  for (const int64_t width : widths) vq.base_channels = std::gcd(vq.base_channels, width);
  const std::string encoder_in = "gen_vision_model.encoder.conv_in.weight";
  if (shapes.Has(encoder_in)) {
    const int64_t base = shapes.Dim(encoder_in, 4, 0, kMaxWidth);
    if (vq.base_channels % base == 0) vq.base_channels = base;
  }
  for (const int64_t width : widths) vq.channel_multiplier.push_back(width / vq.base_channels);
  return vq;
}

// janus/models/siglip_vit.py: VisionTransformer. Heads leave no trace in the shapes; every published tower
// has 16.
SiglipConfig VisionFromShapes(const Shapes& shapes) {
  const std::string tower = "vision_model.vision_tower.";
  SiglipConfig vision;
  vision.hidden = shapes.Dim(tower + "patch_embed.proj.weight", 4, 0, kMaxWidth);
  vision.patch = shapes.Dim(tower + "patch_embed.proj.weight", 4, 3, kMaxSide);
  vision.layers = shapes.Count(tower + "blocks.", ".norm1.weight", kMaxLayers);
  vision.mlp = shapes.Dim(tower + "blocks.0.mlp.fc1.weight", 2, 0, 64 * kMaxWidth);
  vision.heads = 16;
  const int64_t patches = shapes.Dim(tower + "pos_embed", 3, 1, kMaxEntries);
  vision.image_size = std::llround(std::sqrt(static_cast<double>(patches))) * vision.patch;
  return vision;
}

// A size that config.json states and the tensors have.
void CheckStated(const Fields& fields, const char* key, int64_t actual) {
  const int64_t stated = fields.Int(key, actual, 1, kMaxEntries);
  if (stated != actual) {
    fields.Report(key, "is " + std::to_string(stated) + ", but the tensors have " + std::to_string(actual));
  }
}

// janus/models/modeling_vlm.py: MultiModalityConfig
JanusConfig ReadOriginal(const Fields& root, const TensorShapes& tensor_shapes, Problem& problem) {
  JanusConfig c;
  c.layout = Layout::kOriginal;
  if (!root.Has("gen_vision_config") || !root.Has("gen_head_config")) {
    root.Report("model_type",
                "is multi_modality without gen_vision_config and gen_head_config: this is DeepSeek-VL or "
                "another model that cannot draw, not a Janus");
    return c;
  }
  c.llama = ReadLlama(root.Object("language_config"));
  for (const char* aligner : {"aligner_config", "gen_aligner_config"}) {
    root.Object(aligner).Object("params").Require("projector_type", "mlp_gelu");
  }
  root.Object("gen_vision_config").Require("cls", "VQ-16");
  if (problem.error) return c;

  const Shapes shapes(tensor_shapes, Layout::kOriginal, problem);
  c.has_vision = AnyWithPrefix(tensor_shapes, "vision_model.") || AnyWithPrefix(tensor_shapes, "aligner.");
  c.has_vq_encoder = AnyWithPrefix(tensor_shapes, "gen_vision_model.encoder.") ||
                     AnyWithPrefix(tensor_shapes, "gen_vision_model.quant_conv.");
  c.tied_lm_head = !shapes.Has("language_model.lm_head.weight");
  c.vq = VqFromShapes(shapes);
  const Fields gen_vision = root.Object("gen_vision_config").Object("params");
  const Fields gen_head = root.Object("gen_head_config").Object("params");
  CheckStated(gen_vision, "image_token_size", c.vq.codebook_size);
  CheckStated(gen_head, "image_token_size", c.vq.codebook_size);
  c.gen_embed_dim = shapes.Dim("gen_embed.weight", 2, 1, 4096);
  CheckStated(gen_vision, "n_embed", c.gen_embed_dim);
  c.gen_aligner = {c.gen_embed_dim, c.llama.hidden, shapes.Count("gen_aligner.layers.", ".weight", 64, 2)};
  CheckStated(root.Object("gen_aligner_config").Object("params"), "depth", c.gen_aligner.depth);
  c.gen_head_hidden = shapes.Dim("gen_head.output_mlp_projector.weight", 2, 0, kMaxWidth);
  CheckStated(gen_head, "image_token_embed", c.gen_head_hidden);

  const Fields vision = root.Object("vision_config").Object("params");
  int64_t image_size = vision.Side("image_size", 384);
  if (c.has_vision) {
    c.vision = VisionFromShapes(shapes);
    if (vision.Has("image_size") && image_size / c.vision.patch != c.vision.image_size / c.vision.patch) {
      vision.Report("image_size", "is " + std::to_string(image_size) +
                                      ", but vision_tower.pos_embed is for " +
                                      std::to_string(c.vision.image_size) + ": the grids do not match");
    }
    image_size = vision.Has("image_size") ? image_size : c.vision.image_size;
    c.vision.image_size = image_size;
    c.aligner = {c.vision.hidden, c.llama.hidden, shapes.Count("aligner.layers.", ".weight", 64, 2)};
    CheckStated(root.Object("aligner_config").Object("params"), "depth", c.aligner.depth);
  }
  // Pictures are drawn at the size that the vision tower sees.  [generation_inference.py: img_size]
  const int64_t downsampling = int64_t{1} << (c.vq.channel_multiplier.size() - 1);
  c.vq.grid = image_size / downsampling;
  if (image_size % downsampling != 0) {
    vision.Report("image_size", "is " + std::to_string(image_size) + ", not a multiple of the VQ decoder's " +
                                    std::to_string(downsampling) +
                                    " pixels per token: the grids do not match");
  }
  return c;
}

void ReportOtherType(const Fields& root, const std::string& type) {
  root.Report("model_type", "is \"" + Printable(type) + "\"; a Janus has \"janus\" or \"multi_modality\"");
}

Result<JanusConfig> ParseAny(std::string_view text, const TensorShapes& shapes, const std::string& path,
                             bool gguf) {
  BIFRONS_TRY(const Json json, ReadJsonTree(text, kMaxConfigBytes, path));
  Problem problem{path, std::nullopt};
  const Fields root(json, "", problem);
  const std::string type = root.Text("model_type", "");
  JanusConfig config;
  if (type == "janus") {
    config = ReadConverted(root, gguf ? Layout::kGguf : Layout::kConverted, shapes, problem);
  } else if (type == "multi_modality" && !gguf) {
    config = ReadOriginal(root, shapes, problem);
  } else {
    ReportOtherType(root, type);
  }
  if (problem.error) return *problem.error;
  BIFRONS_RETURN_IF_ERROR(CheckConfig(config, path));
  return config;
}

}  // namespace

Status ParseModelType(std::string_view text, const std::string& path) {
  const Result<Json> json = ReadJsonTree(text, kMaxConfigBytes, path);
  if (!json.ok()) return {};
  Problem problem{path, std::nullopt};
  const Fields root(*json, "", problem);
  const Json* const found = root.Find("model_type");
  if (!found || !found->is_string()) return {};
  const std::string type = *found;
  if (type != "janus" && type != "multi_modality") ReportOtherType(root, type);
  if (problem.error) return *problem.error;
  return {};
}

Result<JanusConfig> ParseConfig(std::string_view text, const TensorShapes& shapes, const std::string& path) {
  return ParseAny(text, shapes, path, false);
}

Result<JanusConfig> ParseGgufConfig(std::string_view text, const TensorShapes& shapes,
                                    const std::string& path) {
  return ParseAny(text, shapes, path, true);
}

float ParseGuidance(std::string_view text, float fallback) {
  const Result<Json> json = ReadJsonTree(text, kMaxConfigBytes, "");
  if (!json.ok()) return fallback;
  const auto it = json->find("guidance_scale");
  if (it == json->end() || !it->is_number()) return fallback;
  const double scale = it->get<double>();
  return scale > 0 && scale <= 100 ? static_cast<float>(scale) : fallback;
}

}  // namespace bifrons
