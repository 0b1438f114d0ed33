#include "src/model/image_processor_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "src/base/json_visitor.h"
#include "src/model/config_fields.h"

namespace bifrons {
namespace {

using Json = nlohmann::json;

// Far above any real file of this kind, far below what would hurt.
constexpr size_t kMaxBytes = size_t{1} << 20;

// Both classes' defaults, from CLIP, where a file does not say: not what the published files say.
// [janus/models/image_processing_vlm.py: IMAGENET_MEAN; transformers/utils/constants.py: OPENAI_CLIP_MEAN]
const auto& kClassMean = *new std::vector<double>{0.48145466, 0.4578275, 0.40821073};
const auto& kClassStd = *new std::vector<double>{0.26862954, 0.26130258, 0.27577711};

// {"height": 384, "width": 384}, or a number.
int64_t ReadSize(const Fields& root, int64_t fallback) {
  if (root.Has("image_size")) return root.Side("image_size", fallback);
  const Json* size = root.Find("size");
  if (!size || !size->is_object()) return root.Side("size", fallback);
  const Fields sides = root.Object("size");
  const int64_t height = sides.Int("height", fallback, 1, kMaxSide);
  const int64_t width = sides.Int("width", fallback, 1, kMaxSide);
  for (const char* key : {"shortest_edge", "longest_edge"}) {
    if (sides.Has(key)) sides.Report(key, "is not supported; a Janus has height and width");
  }
  if (height != width) {
    root.Report("size", "is " + std::to_string(height) + " by " + std::to_string(width) +
                            "; only squares are supported");
  }
  return height;
}

}  // namespace

Result<ImageProcessorConfig> ParseImageProcessorConfig(std::string_view text, int64_t vision_image_size,
                                                       const std::string& path) {
  BIFRONS_TRY(const Json json, ReadJsonTree(text, kMaxBytes, path));
  Problem problem{path, std::nullopt};
  const Fields root(json, "", problem);
  for (const char* step : {"do_resize", "do_pad", "do_rescale"}) root.Require(step, true);
  root.Require("resample", 3);  // PIL.Image.BICUBIC

  ImageProcessorConfig config;
  config.image_size = ReadSize(root, vision_image_size);
  if (config.image_size != vision_image_size) {
    root.Report(root.Has("image_size") ? "image_size" : "size",
                "is " + std::to_string(config.image_size) + ", but the vision tower is for " +
                    std::to_string(vision_image_size) + " pixels");
  }
  config.min_size = root.Int("min_size", std::min<int64_t>(14, config.image_size), 1, config.image_size);
  config.rescale_factor = root.Number("rescale_factor", 1.0 / 255.0, 1e-6, 1);
  config.do_normalize = root.Bool("do_normalize", true);
  const std::vector<double> mean = root.Numbers("image_mean", kClassMean, 0, 1);
  const std::vector<double> std = root.Numbers("image_std", kClassStd, 1e-3, 1e3);
  std::vector<double> background;
  for (const double m : mean) background.push_back(static_cast<double>(static_cast<int>(m * 255)));
  background = root.Numbers("background_color", background, 0, 255);
  for (size_t c = 0; c < 3; c++) {
    config.mean[c] = static_cast<float>(mean[c]);
    config.std[c] = static_cast<float>(std[c]);
    config.background[c] = static_cast<uint8_t>(background[c]);
  }
  if (problem.error) return *problem.error;
  return config;
}

Result<ImageProcessorConfig> LoadImageProcessorConfig(const ModelTexts& texts, int64_t vision_image_size) {
  BIFRONS_TRY(const std::optional<ModelText> file, texts.Find("preprocessor_config.json"));
  if (file) return ParseImageProcessorConfig(file->text, vision_image_size, file->path);
  ImageProcessorConfig config;
  config.image_size = vision_image_size;
  config.min_size = std::min(config.min_size, vision_image_size);
  return config;
}

}  // namespace bifrons
