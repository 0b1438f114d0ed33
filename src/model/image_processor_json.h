// preprocessor_config.json: how a model wants its pictures.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "src/base/result.h"
#include "src/model/checkpoint/model_texts.h"
#include "vision/preprocess.h"

namespace bifrons {

/// Reads a model's preprocessor_config.json, as deepseek-ai (image_size) or deepseek-community
/// (size: {height, width}) publish it. Without the file, the published models' numbers. Errors (kBadData)
/// name file and field: a wrong type, an absurd number, a step that is not implemented, a size other than
/// `vision_image_size`, which the vision tower is for.
Result<ImageProcessorConfig> LoadImageProcessorConfig(const ModelTexts& texts, int64_t vision_image_size);

/// The same from the file's text; `path` is for messages. The fuzz target's entry.
Result<ImageProcessorConfig> ParseImageProcessorConfig(std::string_view json, int64_t vision_image_size,
                                                       const std::string& path);

}  // namespace bifrons
