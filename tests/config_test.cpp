// config.json of both layouts: defaults, refusals by field, absurd numbers, grids.
#include "src/model/config.h"

#include <catch2/catch.hpp>

namespace bifrons {
namespace {

// The least that a converted config needs: all else is a default (of a 1B Janus with LlamaConfig's 7B
// language model).
std::string Converted(const std::string& text, const std::string& vision = "", const std::string& vq = "") {
  return R"({"model_type": "janus", "text_config": {)" + text + R"(}, "vision_config": {)" + vision +
         R"(}, "vq_config": {)" + vq + "}}";
}

const std::string kSmallText = R"("hidden_size": 2048, "num_attention_heads": 16)";

std::string ErrorOf(const std::string& json, const TensorShapes& shapes = {}) {
  const auto config = ParseConfig(json, shapes, "m/config.json");
  if (config.ok()) return "";
  CHECK(config.error().kind == ErrorKind::kBadData);
  CHECK(config.error().message.find('\n') == std::string::npos);
  CHECK(config.error().message.starts_with("m/config.json"));
  return config.error().message;
}

bool Says(const std::string& message, const std::string& what) {
  INFO(message);
  CHECK(message.find(what) != std::string::npos);
  return message.find(what) != std::string::npos;
}

TEST_CASE("absent fields of a converted config have transformers' defaults") {
  const auto config = ParseConfig(Converted(kSmallText), {{"lm_head.weight", {32000, 2048}}}, "config.json");
  REQUIRE((config.ok() ? "" : config.error().message) == std::string());
  CHECK(config->llama.intermediate == 11008);
  CHECK(config->llama.layers == 32);
  CHECK(config->llama.kv_heads == 16);
  CHECK(config->llama.head_dim == 128);
  CHECK(config->llama.vocabulary == 32000);
  CHECK(config->llama.rope_theta == 10000);
  CHECK(config->vq.channel_multiplier == std::vector<int64_t>{1, 1, 2, 2, 4});
  CHECK(config->vq.grid == 24);
  CHECK(config->vision.mlp == 4096);
  CHECK_FALSE(config->tied_lm_head);
  CHECK_FALSE(config->has_vision);  // no tensor of it
  CHECK(ParseConfig(Converted(kSmallText), {}, "config.json")->tied_lm_head);
}

TEST_CASE("old and new spellings") {
  const std::string hidden = kSmallText + ", ";
  CHECK(ParseConfig(Converted(hidden + R"("rope_theta": 500000)"), {}, "c")->llama.rope_theta == 500000);
  CHECK(
      ParseConfig(Converted(hidden + R"("rope_parameters": {"rope_theta": 25000.0, "rope_type": "default"})"),
                  {}, "c")
          ->llama.rope_theta == 25000);
  CHECK(ParseConfig(Converted(hidden + R"("rope_scaling": null, "num_key_value_heads": 4, "head_dim": 64)"),
                    {}, "c")
            ->llama.kv_heads == 4);
  CHECK(
      ParseConfig(Converted(kSmallText, R"("image_size": [192, 192], "mlp_ratio": 2.5)"), {}, "c")->vq.grid ==
      12);
  CHECK(ParseConfig(Converted(kSmallText, R"("mlp_ratio": 2.5)"), {}, "c")->vision.mlp == 2560);
}

TEST_CASE("variants of the architecture are refused by field") {
  for (const auto& [field, value] : {std::pair("attention_bias", "true"),
                                     {"mlp_bias", "true"},
                                     {"hidden_act", "\"gelu\""},
                                     {"model_type", "\"mistral\""}}) {
    const std::string message = ErrorOf(Converted(kSmallText + ", \"" + field + "\": " + value));
    Says(message, std::string("text_config.") + field);
    Says(message, value);
  }
  Says(ErrorOf(Converted(kSmallText + R"(, "rope_scaling": {"type": "linear", "factor": 2.0})")),
       "text_config.rope_scaling.type");
  Says(ErrorOf(Converted(kSmallText + R"(, "rope_parameters": {"rope_type": "yarn"})")),
       "text_config.rope_parameters.rope_type");
  Says(ErrorOf(Converted(kSmallText, R"("use_qk_norm": true)")), "vision_config.use_qk_norm");
  Says(ErrorOf(Converted(kSmallText, "", R"("double_latent": true)")), "vq_config.double_latent");
}

TEST_CASE("absurd, mistyped and missing numbers are named with their field") {
  for (const char* value :
       {"0", "-4", "1000000000", "1e9", "18446744073709551615", "\"2048\"", "2048.5", "[]", "true"}) {
    CAPTURE(value);
    Says(ErrorOf(Converted(std::string(R"("num_hidden_layers": )") + value)),
         "text_config.num_hidden_layers");
    Says(ErrorOf(Converted(kSmallText, "", std::string(R"("num_embeddings": )") + value)),
         "vq_config.num_embeddings");
  }
  Says(ErrorOf(Converted(kSmallText + R"(, "rms_norm_eps": "tiny")")), "text_config.rms_norm_eps");
  Says(ErrorOf(Converted(R"("hidden_size": 2047)")), "text_config.hidden_size");
  Says(ErrorOf(Converted(kSmallText + R"(, "num_key_value_heads": 3)")), "num_key_value_heads");
  Says(ErrorOf(Converted(kSmallText + R"(, "head_dim": 63)")), "head_dim");
  Says(ErrorOf(Converted(kSmallText, R"("image_size": [384, 192])")), "vision_config.image_size");
  Says(ErrorOf(Converted(kSmallText, "", R"("channel_multiplier": [])")), "vq_config.channel_multiplier");
  Says(ErrorOf(Converted(kSmallText, "", R"("channel_multiplier": [1,1,1,1,1,1,1,1,1,1,1,1,1,1])")),
       "vq_config.channel_multiplier");
  Says(ErrorOf(Converted(kSmallText, "", R"("base_channels": 48)")), "48 channels");
  Says(ErrorOf(Converted("")), "image_token_embed_dim");  // LlamaConfig's 4096 against the VQ's 2048
  Says(ErrorOf(Converted(kSmallText + R"(, "max_position_embeddings": 576)")), "max_position_embeddings");
  Says(ErrorOf("[]"), "not a JSON object");
  Says(ErrorOf(R"({"model_type": "janus", "text_config": 3})"), "field text_config");
  Says(ErrorOf("{\"model_type\": \"ja\\nnus\"}"), "model_type");
}

TEST_CASE("grids that contradict each other are an error") {
  Says(ErrorOf(Converted(kSmallText, R"("image_size": 384, "patch_size": 16)", R"("num_patches": 12)")),
       "grids do not match");
  CHECK(ErrorOf(Converted(kSmallText, R"("image_size": 192)", R"("num_patches": 12)")).empty());
}

TEST_CASE("nesting costs nothing") {
  const std::string deep(1000000, '[');
  Says(ErrorOf("{\"model_type\":" + deep), "nested");
  CHECK(ErrorOf("{\"model_type\": \"janus\", \"text_config\": {" + kSmallText + ", \"x\": \"" + deep + "\"}}")
            .empty());
}

// Shapes of an original-layout model: base 32, multipliers (1, 2, 3), one residual block, vision 64 wide.
TensorShapes OriginalShapes() {
  TensorShapes shapes = {{"gen_vision_model.quantize.embedding.weight", {100, 5}},
                         {"gen_vision_model.post_quant_conv.weight", {48, 5, 1, 1}},
                         {"gen_vision_model.encoder.conv_in.weight", {32, 3, 3, 3}},
                         {"gen_embed.weight", {100, 6}},
                         {"gen_aligner.layers.0.weight", {128, 6}},
                         {"gen_aligner.layers.2.weight", {128, 128}},
                         {"gen_aligner.layers.4.weight", {128, 128}},
                         {"gen_head.output_mlp_projector.weight", {160, 128}},
                         {"aligner.layers.0.weight", {128, 64}},
                         {"vision_model.vision_tower.patch_embed.proj.weight", {64, 3, 4, 4}},
                         {"vision_model.vision_tower.pos_embed", {1, 36, 64}},
                         {"vision_model.vision_tower.blocks.0.norm1.weight", {64}},
                         {"vision_model.vision_tower.blocks.0.mlp.fc1.weight", {200, 64}}};
  const int64_t widths[] = {96, 64, 32};  // lowest resolution first
  for (int level = 0; level < 3; level++) {
    for (int block = 0; block < 2; block++) {
      shapes["gen_vision_model.decoder.conv_blocks." + std::to_string(level) + ".res." +
             std::to_string(block) + ".conv1.weight"] = {widths[level], 32, 3, 3};
    }
  }
  return shapes;
}

std::string Original(const std::string& vision_params, const std::string& more = "") {
  return R"({"model_type": "multi_modality", "language_config": {"hidden_size": 128, "num_attention_heads": 4},
    "aligner_config": {"params": {"projector_type": "mlp_gelu"}},
    "gen_vision_config": {"cls": "VQ-16", "params": {)" +
         more + R"(}}, "gen_head_config": {"params": {}},
    "vision_config": {"params": {)" +
         vision_params + "}}}";
}

TEST_CASE("the original layout's geometry comes from the tensors") {
  const auto config = ParseConfig(Original(R"("image_size": 24)"), OriginalShapes(), "c");
  REQUIRE((config.ok() ? "" : config.error().message) == std::string());
  CHECK(config->layout == Layout::kOriginal);
  CHECK(config->vq.channel_multiplier == std::vector<int64_t>{1, 2, 3});
  CHECK(config->vq.base_channels == 32);
  CHECK(config->vq.res_blocks == 1);
  CHECK(config->vq.latent_channels == 48);
  CHECK(config->vq.codebook_size == 100);
  CHECK(config->vq.codebook_dim == 5);
  CHECK(config->vq.grid == 6);
  CHECK(config->gen_embed_dim == 6);
  CHECK(config->gen_aligner.depth == 3);
  CHECK(config->gen_head_hidden == 160);
  CHECK(config->vision.patch == 4);
  CHECK(config->vision.image_size == 24);
  CHECK(config->vision.mlp == 200);
  CHECK(config->aligner.depth == 1);
  CHECK(config->llama.layers == 32);  // LlamaConfig's default
  CHECK(ParseConfig(Original(""), OriginalShapes(), "c")->vq.grid == 6);
}

TEST_CASE("contradictions between an original config and its tensors") {
  Says(ErrorOf(Original(R"("image_size": 48)"), OriginalShapes()), "grids do not match");
  Says(ErrorOf(Original("", R"("image_token_size": 101)"), OriginalShapes()),
       "gen_vision_config.params.image_token_size");
  TensorShapes shapes = OriginalShapes();
  shapes.erase("gen_vision_model.post_quant_conv.weight");
  Says(ErrorOf(Original(""), shapes), "gen_vision_model.post_quant_conv.weight");
  shapes["gen_vision_model.post_quant_conv.weight"] = {int64_t{1} << 60, 5, 1, 1};
  Says(ErrorOf(Original(""), shapes), "gen_vision_model.post_quant_conv.weight");
}

TEST_CASE("DeepSeek-VL is told apart") {
  Says(ErrorOf(R"({"model_type": "multi_modality", "language_config": {}, "vision_config": {}})"),
       "DeepSeek-VL");
  Says(ErrorOf(R"({"model_type": "llama"})"), "janus");
  Says(ErrorOf("{}"), "model_type");
}

TEST_CASE("guidance comes from generation_config.json when it is sane") {
  CHECK(ParseGuidance(R"({"guidance_scale": 3.5})", 5) == 3.5f);
  for (const char* text : {"", "{}", "[]", R"({"guidance_scale": null})", R"({"guidance_scale": -1})",
                           R"({"guidance_scale": 1e30})", R"({"guidance_scale": "x"})"}) {
    CHECK(ParseGuidance(text, 5) == 5);
  }
}

}  // namespace
}  // namespace bifrons
