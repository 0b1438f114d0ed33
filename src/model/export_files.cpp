#include "src/model/export_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "src/base/shortest.h"
#include "src/model/text/tokenizer_json.h"

namespace bifrons {
namespace {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

std::string Pretty(const OrderedJson& json) { return json.dump(2) + "\n"; }

// The vision tower's shape; a drawing-only model gets the smallest tower whose grid agrees, which
// transformers then fills with random numbers and never uses for drawing.
SiglipConfig VisionOf(const JanusConfig& c) {
  if (c.has_vision) return c.vision;
  return {.hidden = 64, .layers = 1, .heads = 1, .mlp = 256, .patch = 8, .image_size = 8 * c.vq.grid};
}

// The one number of mlp_ratio that gives exactly this width after truncation.
double MlpRatio(const SiglipConfig& vision) {
  const double hidden = static_cast<double>(vision.hidden);
  const double ratio = static_cast<double>(vision.mlp) / hidden;
  return static_cast<int64_t>(hidden * ratio) == vision.mlp
             ? ratio
             : (static_cast<double>(vision.mlp) + 0.5) / hidden;
}

const char* TorchName(DType dtype) {
  return dtype == DType::kBF16 ? "bfloat16" : dtype == DType::kF16 ? "float16" : "float32";
}

/// Where the braces of model.vocab close in the text of a valid tokenizer.json.
std::optional<size_t> EndOfVocabulary(std::string_view text) {
  std::optional<size_t> end;
  std::string_view last;  // the last string: before a bracket within an object, its key
  int depth = 0;
  bool in_model = false, in_vocabulary = false;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '"') {
      const size_t begin = ++i;
      while (i < text.size() && text[i] != '"') i += text[i] == '\\' ? 2 : 1;
      last = text.substr(begin, i - begin);
    } else if (text[i] == '{' || text[i] == '[') {
      depth++;
      if (depth == 2) in_model = last == "model";
      if (depth == 3) in_vocabulary = in_model && last == "vocab";
    } else if (text[i] == '}' || text[i] == ']') {
      if (depth == 3 && in_vocabulary) end = i;
      depth--;
    }
  }
  return end;
}

}  // namespace

Result<ExportTokens> FindExportTokens(const TokenizerFile& file, const std::string& path) {
  ExportTokens tokens;
  for (const auto& [token, id] :
       {std::pair("<｜begin▁of▁sentence｜>", &tokens.bos), std::pair("<｜end▁of▁sentence｜>", &tokens.eos),
        std::pair("<｜▁pad▁｜>", &tokens.pad), std::pair("<begin_of_image>", &tokens.begin_of_image),
        std::pair("<image_placeholder>", &tokens.image_placeholder)}) {
    const AddedToken* found = file.added_tokens.Find(token);
    const std::optional<int32_t> plain = file.vocabulary.IdOf(token);
    if (!found && !plain) return DataError(path + ": lacks the token " + token);
    *id = found ? found->id : *plain;
  }
  return tokens;
}

Result<PaddedTokenizer> PadTokenizer(std::string_view text, int64_t vocabulary, const std::string& path) {
  const auto wrong = [&](const std::string& what) { return DataError(path + ": " + what); };
  PaddedTokenizer padded;
  {
    BIFRONS_TRY(const TokenizerFile file, ParseTokenizerFile(text, path));
    const std::optional<size_t> end = EndOfVocabulary(text);
    if (!end) return wrong("is not a BPE tokenizer.json (field model.vocab)");
    std::vector<bool> taken(static_cast<size_t>(vocabulary), false);
    int64_t too_large = -1;
    const auto take = [&](int32_t id) {
      if (id < vocabulary) {
        taken[static_cast<size_t>(id)] = true;
      } else {
        too_large = id;
      }
    };
    std::string added;
    const auto add = [&](const std::string& entry, size_t id) {
      if (file.vocabulary.size() > 0 || !added.empty()) added += ',';
      added += Json(entry).dump() + ':' + std::to_string(id);
    };
    for (size_t i = 0; i < file.vocabulary.size(); i++) take(file.vocabulary.id(i));
    // An added token that the model's vocabulary lacks would be numbered after the fillers by the tokenizers
    // library.
    for (const AddedToken& token : file.added_tokens.all()) {
      take(token.id);
      if (!file.vocabulary.IdOf(token.content)) add(token.content, static_cast<size_t>(token.id));
    }
    if (too_large >= 0) {
      return wrong("has the id " + std::to_string(too_large) + ", but the model's vocabulary has only " +
                   std::to_string(vocabulary) + " entries");
    }
    BIFRONS_TRY(padded.tokens, FindExportTokens(file, path));
    for (size_t id = 0; id < taken.size(); id++) {
      if (!taken[id]) add("<filler_" + std::to_string(id) + ">", id);
    }
    padded.json.reserve(text.size() + added.size());
    padded.json.append(text.substr(0, *end)).append(added).append(text.substr(*end));
  }
  // Keys that stand twice, or spelled with escapes, could have led to another place.
  BIFRONS_TRY(const TokenizerFile written, ParseTokenizerFile(padded.json, path));
  if (static_cast<int64_t>(written.vocabulary.size()) != vocabulary)
    return wrong("cannot get filler entries (field model.vocab)");
  return padded;
}

Result<std::string> ConvertedConfig(const JanusConfig& c, const ExportTokens& tokens, DType dtype) {
  const auto cannot = [&](const std::string& what) {
    return Failure("cannot export " + c.name + ": the converted layout has no field for " + what);
  };
  const SiglipConfig vision = VisionOf(c);
  if (c.gen_head_hidden != c.llama.hidden)
    return cannot("a generation head of another width than the model's");
  if (c.gen_embed_dim != c.vq.codebook_dim)
    return cannot("generation embeddings of another width than the codebook's");
  if (vision.image_size / vision.patch != c.vq.grid)
    return cannot("a vision grid that differs from the picture's");
  return GgufConfig(c, tokens, dtype);
}

std::string GgufConfig(const JanusConfig& c, const ExportTokens& tokens, DType dtype) {
  const SiglipConfig vision = VisionOf(c);
  const LlamaConfig& llama = c.llama;
  const OrderedJson text = {
      {"model_type", "llama"},
      {"vocab_size", llama.vocabulary},
      {"hidden_size", llama.hidden},
      {"intermediate_size", llama.intermediate},
      {"num_hidden_layers", llama.layers},
      {"num_attention_heads", llama.heads},
      {"num_key_value_heads", llama.kv_heads},
      {"head_dim", llama.head_dim},
      {"hidden_act", "silu"},
      {"max_position_embeddings", llama.max_positions},
      {"rms_norm_eps", Shortest(llama.norm_eps)},
      // Both spellings: transformers 5 reads the second, older versions the first.
      {"rope_theta", Shortest(llama.rope_theta)},
      {"rope_parameters", {{"rope_theta", Shortest(llama.rope_theta)}, {"rope_type", "default"}}},
      {"attention_bias", false},
      {"mlp_bias", false},
      {"tie_word_embeddings", c.tied_lm_head},
      {"bos_token_id", tokens.bos},
      {"eos_token_id", tokens.eos},
      {"pad_token_id", tokens.pad}};
  const OrderedJson vision_config = {{"model_type", "janus_vision_model"},
                                     {"hidden_size", vision.hidden},
                                     {"num_hidden_layers", vision.layers},
                                     {"num_attention_heads", vision.heads},
                                     {"mlp_ratio", MlpRatio(vision)},
                                     {"image_size", vision.image_size},
                                     {"patch_size", vision.patch},
                                     {"num_image_tokens", vision.patches()},
                                     {"layer_norm_eps", Shortest(vision.norm_eps)},
                                     {"hidden_act", "gelu"},
                                     {"projection_dim", llama.hidden},
                                     {"depth", c.has_vision ? c.aligner.depth : 2}};
  const OrderedJson vq_config = {{"model_type", "janus_vqgan"},
                                 {"num_embeddings", c.vq.codebook_size},
                                 {"embed_dim", c.vq.codebook_dim},
                                 {"latent_channels", c.vq.latent_channels},
                                 {"base_channels", c.vq.base_channels},
                                 {"channel_multiplier", c.vq.channel_multiplier},
                                 {"num_res_blocks", c.vq.res_blocks},
                                 {"num_patches", c.vq.grid},
                                 {"num_hidden_layers", c.gen_aligner.depth},
                                 {"projection_dim", llama.hidden},
                                 {"image_token_embed_dim", llama.hidden},
                                 {"hidden_act", "gelu"}};
  return Pretty({{"architectures", {"JanusForConditionalGeneration"}},
                 {"model_type", "janus"},
                 {"torch_dtype", TorchName(dtype)},
                 {"dtype", TorchName(dtype)},
                 {"image_token_id", tokens.image_placeholder},
                 {"bos_token_id", tokens.bos},
                 {"eos_token_id", tokens.eos},
                 {"pad_token_id", tokens.pad},
                 {"tie_word_embeddings", c.tied_lm_head},
                 {"text_config", text},
                 {"vision_config", vision_config},
                 {"vq_config", vq_config}});
}

std::string GenerationConfig(const JanusConfig& c, const ExportTokens& tokens) {
  return Pretty({{"bos_token_id", tokens.bos},
                 {"eos_token_id", tokens.eos},
                 {"pad_token_id", tokens.pad},
                 {"guidance_scale", Shortest(c.guidance_default)},
                 {"generation_kwargs", {{"boi_token_id", tokens.begin_of_image}}}});
}

std::string PreprocessorConfig(const JanusConfig& c) {
  const int64_t side = VisionOf(c).image_size;
  return Pretty({{"image_processor_type", "JanusImageProcessor"},
                 {"processor_class", "JanusProcessor"},
                 {"size", {{"height", side}, {"width", side}}},
                 {"min_size", 14},
                 {"do_resize", true},
                 {"resample", 3},
                 {"do_rescale", true},
                 {"rescale_factor", 1 / 255.0},
                 {"do_normalize", true},
                 {"image_mean", {0.5, 0.5, 0.5}},
                 {"image_std", {0.5, 0.5, 0.5}},
                 {"do_convert_rgb", true},
                 {"do_pad", true},
                 {"background_color", {127, 127, 127}}});
}

std::string ProcessorConfig(const JanusConfig& c) {
  return Pretty({{"processor_class", "JanusProcessor"}, {"num_image_tokens", VisionOf(c).patches()}});
}

}  // namespace bifrons
