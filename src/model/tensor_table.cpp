#include "src/model/tensor_table.h"

#include <algorithm>

namespace bifrons {
namespace {

// Appends specs; a prefix carries the three names of one module.
struct Module {
  std::string name, original, converted;

  Module At(const std::string& member, const std::string& original_member,
            const std::string& converted_member) const {
    return {name + "." + member, original + "." + original_member, converted + "." + converted_member};
  }
  Module At(const std::string& member) const { return At(member, member, member); }
  Module At(const std::string& member, int64_t index) const {
    return At(member + "." + std::to_string(index));
  }
};

class TableBuilder {
 public:
  explicit TableBuilder(const JanusConfig& config) : config_(config) {}

  std::vector<TensorSpec> Build() {
    AddLlama();
    AddGeneration();
    AddVqDecoder();
    if (config_.has_vq_encoder) AddVqEncoder();
    if (config_.has_vision) AddVision();
    return std::move(table_);
  }

 private:
  void Add(const std::string& name, const std::string& original, const std::string& converted, Shape shape,
           Transform transform = Transform::kNone) {
    table_.push_back({name, original, converted, shape, transform, part_});
    table_.back().quantizable = shape.rank() == 2;
  }
  // A tensor of ours that the files call module.weight.
  void AddWeightOnly(const Module& m, Shape shape) {
    Add(m.name, m.original + ".weight", m.converted + ".weight", shape);
  }
  // Small entries that are looked up and are no products' matrix.
  void AddCodebook(const Module& m, Shape shape) {
    AddWeightOnly(m, shape);
    table_.back().quantizable = false;
  }

  // A weight and a bias [shape[0]].
  void AddBiased(const Module& m, Shape shape, Transform transform = Transform::kNone) {
    const Shape bias{shape[0]};
    for (const auto& [suffix, s] : {std::pair(".weight", shape), std::pair(".bias", bias)}) {
      Add(m.name + suffix, m.original + suffix, m.converted + suffix, s, transform);
    }
  }
  void AddNorm(const Module& m, int64_t channels) { AddBiased(m, {channels}); }

  // transformers/models/llama/modeling_llama.py
  void AddLlama() {
    part_ = Part::kLanguage;
    const LlamaConfig& c = config_.llama;
    const Module llama{"llama", "language_model.model", "model.language_model"};
    AddWeightOnly(llama.At("embed", "embed_tokens", "embed_tokens"), {c.vocabulary, c.hidden});
    const auto add = [&](const Module& layer, const char* member, const std::string& published, Shape shape) {
      AddWeightOnly(layer.At(member, published, published), shape);
    };
    const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
    for (int64_t i = 0; i < c.layers; i++) {
      const Module layer = llama.At("layers", i);
      add(layer, "attention_norm", "input_layernorm", {c.hidden});
      add(layer, "q", "self_attn.q_proj", {q, c.hidden});
      add(layer, "k", "self_attn.k_proj", {kv, c.hidden});
      add(layer, "v", "self_attn.v_proj", {kv, c.hidden});
      add(layer, "o", "self_attn.o_proj", {c.hidden, q});
      add(layer, "ffn_norm", "post_attention_layernorm", {c.hidden});
      add(layer, "gate", "mlp.gate_proj", {c.intermediate, c.hidden});
      add(layer, "up", "mlp.up_proj", {c.intermediate, c.hidden});
      add(layer, "down", "mlp.down_proj", {c.hidden, c.intermediate});
    }
    add(llama, "norm", "norm", {c.hidden});
    if (!config_.tied_lm_head) {
      AddWeightOnly({"lm_head", "language_model.lm_head", "lm_head"}, {c.vocabulary, c.hidden});
      table_.back().required = false;
    }
  }

  // janus/models/projector.py: MlpProjector (mlp_gelu); the original's indices count the GELUs between.
  void AddProjector(const Module& m, const ProjectorConfig& c) {
    for (int64_t i = 0; i < c.depth; i++) {
      const Module layer = m.At(std::to_string(i), "layers." + std::to_string(2 * i),
                                i == 0 ? "fc1" : "hidden_layers." + std::to_string(i - 1));
      AddBiased(layer, {c.output, i == 0 ? c.input : c.output});
    }
  }

  // janus/models/modeling_vlm.py: vision_head, gen_embed, gen_aligner
  void AddGeneration() {
    part_ = Part::kGeneration;
    const Module head{"gen_head", "gen_head", "model.generation_head"};
    AddBiased(head.At("fc", "output_mlp_projector", "proj_out"),
              {config_.gen_head_hidden, config_.llama.hidden});
    AddBiased(head.At("out", "vision_head", "vision_head"),
              {config_.vq.codebook_size, config_.gen_head_hidden});
    AddCodebook({"gen_embed", "gen_embed", "model.generation_embeddings"},
                {config_.vq.codebook_size, config_.gen_embed_dim});
    AddProjector({"gen_aligner", "gen_aligner", "model.generation_aligner"}, config_.gen_aligner);
  }

  // janus/models/vq_model.py: ResnetBlock
  void AddResidual(const Module& m, int64_t in, int64_t out) {
    AddNorm(m.At("norm1"), in);
    AddBiased(m.At("conv1"), {out, in, 3, 3});
    AddNorm(m.At("norm2"), out);
    AddBiased(m.At("conv2"), {out, out, 3, 3});
    if (in != out) AddBiased(m.At("shortcut", "nin_shortcut", "nin_shortcut"), {out, in, 1, 1});
  }

  // janus/models/vq_model.py: AttnBlock
  void AddAttention(const Module& m, int64_t channels) {
    AddNorm(m.At("norm"), channels);
    for (const char* member : {"q", "k", "v"}) AddBiased(m.At(member), {channels, channels, 1, 1});
    AddBiased(m.At("out", "proj_out", "proj_out"), {channels, channels, 1, 1});
  }

  void AddMid(const Module& m, int64_t channels) {
    AddResidual(m.At("mid.res0", "mid.0", "mid.block_1"), channels, channels);
    AddAttention(m.At("mid.attn", "mid.1", "mid.attn_1"), channels);
    AddResidual(m.At("mid.res1", "mid.2", "mid.block_2"), channels, channels);
  }

  // `blocks` residual blocks, each followed by attention at the lowest resolution.
  void AddLevel(const Module& level, int64_t blocks, int64_t in, int64_t out, bool lowest) {
    for (int64_t b = 0; b < blocks; b++) {
      const std::string index = "." + std::to_string(b);
      AddResidual(level.At("res" + index, "res" + index, "block" + index), b == 0 ? in : out, out);
      if (lowest) AddAttention(level.At("attn", b), out);
    }
  }

  // janus/models/vq_model.py: Decoder
  void AddVqDecoder() {
    part_ = Part::kVqDecoder;
    const VqConfig& c = config_.vq;
    const Module vq{"vq", "gen_vision_model", "model.vqmodel"};
    AddCodebook(vq.At("codebook", "quantize.embedding", "quantize.embedding"),
                {c.codebook_size, c.codebook_dim});
    AddBiased(vq.At("post_quant_conv"), {c.latent_channels, c.codebook_dim, 1, 1});
    const Module decoder = vq.At("decoder");
    const int64_t levels = static_cast<int64_t>(c.channel_multiplier.size());
    int64_t channels = c.base_channels * c.channel_multiplier.back();
    AddBiased(decoder.At("conv_in"), {channels, c.latent_channels, 3, 3});
    AddMid(decoder, channels);
    for (int64_t l = 0; l < levels; l++) {
      const std::string index = "." + std::to_string(l);
      const Module level = decoder.At("levels" + index, "conv_blocks" + index, "up" + index);
      const int64_t out = c.base_channels * c.channel_multiplier[static_cast<size_t>(levels - 1 - l)];
      AddLevel(level, c.res_blocks + 1, channels, out, l == 0);
      channels = out;
      if (l + 1 < levels) AddBiased(level.At("upsample", "upsample.conv", "upsample.conv"), {out, out, 3, 3});
    }
    AddNorm(decoder.At("norm_out"), channels);
    AddBiased(decoder.At("conv_out"), {c.out_channels, channels, 3, 3});
  }

  // janus/models/vq_model.py: Encoder
  void AddVqEncoder() {
    part_ = Part::kVqEncoder;
    const VqConfig& c = config_.vq;
    const Module vq{"vq", "gen_vision_model", "model.vqmodel"};
    const Module encoder = vq.At("encoder");
    const int64_t levels = static_cast<int64_t>(c.channel_multiplier.size());
    int64_t channels = c.base_channels;
    AddBiased(encoder.At("conv_in"), {channels, 3, 3, 3});
    for (int64_t l = 0; l < levels; l++) {
      const std::string index = "." + std::to_string(l);
      const Module level = encoder.At("levels" + index, "conv_blocks" + index, "down" + index);
      const int64_t out = c.base_channels * c.channel_multiplier[static_cast<size_t>(l)];
      AddLevel(level, c.res_blocks, channels, out, l + 1 == levels);
      channels = out;
      if (l + 1 < levels)
        AddBiased(level.At("downsample", "downsample.conv", "downsample.conv"), {out, out, 3, 3});
    }
    AddMid(encoder, channels);
    AddNorm(encoder.At("norm_out"), channels);
    AddBiased(encoder.At("conv_out"), {c.latent_channels, channels, 3, 3});
    AddBiased(vq.At("quant_conv"), {c.codebook_dim, c.latent_channels, 1, 1});
  }

  // janus/models/siglip_vit.py: VisionTransformer
  void AddVision() {
    part_ = Part::kVision;
    const SiglipConfig& c = config_.vision;
    const Module tower{"siglip", "vision_model.vision_tower", "model.vision_model"};
    AddBiased(tower.At("patch_embed", "patch_embed.proj", "embeddings.patch_embedding"),
              {c.hidden, 3, c.patch, c.patch});
    Add("siglip.position", tower.original + ".pos_embed",
        tower.converted + ".embeddings.position_embedding.weight", {c.patches(), c.hidden},
        Transform::kDropLeadingOne);
    table_.back().quantizable = false;
    for (int64_t i = 0; i < c.layers; i++) {
      const std::string index = "." + std::to_string(i);
      const Module layer = tower.At("layers" + index, "blocks" + index, "encoder.layers" + index);
      AddNorm(layer.At("norm1", "norm1", "layer_norm1"), c.hidden);
      AddBiased(layer.At("q", "attn.qkv", "self_attn.q_proj"), {c.hidden, c.hidden}, Transform::kQueryOfQkv);
      AddBiased(layer.At("k", "attn.qkv", "self_attn.k_proj"), {c.hidden, c.hidden}, Transform::kKeyOfQkv);
      AddBiased(layer.At("v", "attn.qkv", "self_attn.v_proj"), {c.hidden, c.hidden}, Transform::kValueOfQkv);
      AddBiased(layer.At("out", "attn.proj", "self_attn.projection_layer"), {c.hidden, c.hidden});
      AddNorm(layer.At("norm2", "norm2", "layer_norm2"), c.hidden);
      AddBiased(layer.At("fc1", "mlp.fc1", "mlp.fc1"), {c.mlp, c.hidden});
      AddBiased(layer.At("fc2", "mlp.fc2", "mlp.fc2"), {c.hidden, c.mlp});
    }
    AddNorm(tower.At("norm", "norm", "post_layernorm"), c.hidden);
    AddProjector({"aligner", "aligner", "model.aligner"}, config_.aligner);
  }

  const JanusConfig& config_;
  Part part_ = Part::kLanguage;
  std::vector<TensorSpec> table_;
};

/// "layers.23.norm.weight" → "layers.0.norm.weight"
std::string WithoutIndices(std::string_view name) {
  std::string out;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    const bool index = !part.empty() && part.find_first_not_of("0123456789") == part.npos;
    out += index ? "0" : part;
    if (end < name.size()) out += '.';
    begin = end + 1;
  }
  return out;
}

}  // namespace

std::vector<TensorSpec> TensorTable(const JanusConfig& config) { return TableBuilder(config).Build(); }

const std::string& NameIn(Layout layout, const TensorSpec& spec) {
  switch (layout) {
    case Layout::kOriginal:
      return spec.original;
    case Layout::kConverted:
      return spec.converted;
    case Layout::kGguf:
      break;
  }
  return spec.name;
}

Shape StoredShape(const TensorSpec& spec, Layout layout) {
  if (layout != Layout::kOriginal || spec.transform == Transform::kNone) return spec.shape;
  Shape stored;
  if (spec.transform == Transform::kDropLeadingOne) {
    stored.Append(1);
    for (int i = 0; i < spec.shape.rank(); i++) stored.Append(spec.shape[i]);
  } else {
    stored.Append(3 * spec.shape[0]);
    for (int i = 1; i < spec.shape.rank(); i++) stored.Append(spec.shape[i]);
  }
  return stored;
}

PublishedNames::PublishedNames(Layout layout) {
  JanusConfig config = PublishedConfig("janus-pro-1b").value();
  config.llama.layers = config.vision.layers = 1;  // the others have the same names
  for (const TensorSpec& spec : TensorTable(config)) names_.insert(WithoutIndices(NameIn(layout, spec)));
}

bool PublishedNames::Contains(std::string_view name) const { return names_.contains(WithoutIndices(name)); }

bool IsDropped(const std::string& name) {
  // The pooling head that Janus never uses, the codebook's usage counter, buffers of old transformers
  // versions.
  return name.starts_with("vision_model.vision_tower.attn_pool.") ||
         name == "gen_vision_model.quantize.codebook_used" || name.ends_with(".rotary_emb.inv_freq") ||
         name.ends_with(".position_ids");
}

}  // namespace bifrons
