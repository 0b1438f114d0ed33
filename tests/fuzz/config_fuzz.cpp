// Any bytes as config.json, with and without tensors to take the original layout's geometry from.
#include <cstdint>
#include <string_view>

#include "src/model/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bifrons::TensorShapes kShapes = {
      {"language_model.model.embed_tokens.weight", {64, 32}},
      {"gen_embed.weight", {16, 8}},
      {"gen_vision_model.quantize.embedding.weight", {16, 8}},
      {"gen_vision_model.decoder.conv_in.weight", {64, 32, 3, 3}},
  };
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)bifrons::ParseConfig(text, {}, "fuzz");
  (void)bifrons::ParseConfig(text, kShapes, "fuzz");
  (void)bifrons::ParseGgufConfig(text, {}, "fuzz");
  (void)bifrons::ParseGuidance(text, 5);
  return 0;
}
