// What a picture says about itself: the A1111-style `parameters` text that `generate --from` reads back.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/sampling.h"
#include "src/base/result.h"
#include "src/engine/draw.h"
#include "src/model/janus.h"

namespace bifrons {

/// Of a file that is resampled to a size of its own, in pixels.
constexpr int64_t kMaxResizedSide = 4096;

/// Everything that decides a picture's bytes, and how it was chosen.
struct PictureSettings {
  std::string prompt;
  uint64_t seed = 0;
  Sampling sampling;
  int64_t width = 0, height = 0;  // pixels, as drawn
  int64_t steps = 0;              // image tokens
  std::string model, model_hash;  // folder name or "random:…"; SHA-256 of its files
  std::string weights;            // "q8_0": the type that they were given; "" = they are as stored
  std::string compute, kv_type;   // "bf16", "f32"; of keys and values also "q8_0"
  std::string backend, isa;
  std::string convolutions;   // the library that made them, "cuDNN 9.19.0"; "" = the device itself
  std::string chat_template;  // as --template takes it
  std::string version;
  int upscale = 1;  // 2 or 4: the file's pixels are resampled to that many times width and height
  int64_t resized_width = 0, resized_height = 0;  // of the file, `upscale` included; 0: no size of its own
  Choice choice;

  /// The type that keys and values were given; "" = that of the arithmetic.
  std::string given_kv() const { return kv_type == compute ? "" : kv_type; }
  int64_t file_width() const { return resized_width > 0 ? resized_width : width * upscale; }
  int64_t file_height() const { return resized_height > 0 ? resized_height : height * upscale; }
};

/// What tells a model that draws from all others: the hash of its files, and the types that weights and
/// caches were given, if any.
std::string IdentityOf(const std::string& model_hash, const std::string& weights, const std::string& kv);

/// What the loaded model decides, but for its hash: that takes a while (WeightSource::Hash), and is needed
/// when there is a picture.
PictureSettings DescribeModel(Janus& janus);

/// The prompt, then one line "Steps: 576, Sampler: Gumbel-max, CFG scale: 5, Seed: 1, …". Values with commas,
/// colons or quotes are quoted as JSON strings, as A1111 does. Numbers are written so that they read back
/// exactly.
std::string FormatParameters(const PictureSettings& settings);

/// The inverse; of a choice the fields may be absent. Errors name the missing or bad field; text of other
/// programs is refused that way.
Result<PictureSettings> ParseParameters(std::string_view text);

}  // namespace bifrons
