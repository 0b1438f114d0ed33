#include "vision/preprocess.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "src/base/check.h"
#include "vision/resize.h"

namespace bifrons {
namespace {

// max(int(side / max_size * image_size), min_size), in Python's f64
// [janus/models/image_processing_vlm.py: VLMImageProcessor.resize]
int64_t ResizedSide(int64_t side, int64_t longest, const ImageProcessorConfig& config) {
  const double scaled =
      static_cast<double>(side) / static_cast<double>(longest) * static_cast<double>(config.image_size);
  return std::max(static_cast<int64_t>(scaled), config.min_size);
}

}  // namespace

Image ResizeAndPad(const Image& image, const ImageProcessorConfig& config) {
  const int64_t size = config.image_size;
  BIFRONS_CHECK(size > 0 && config.min_size > 0 && config.min_size <= size);
  const int64_t longest = std::max(image.width, image.height);
  Image resized = ResizeBicubic(image, ResizedSide(image.width, longest, config),
                                ResizedSide(image.height, longest, config));
  if (resized.width == resized.height) return resized;
  Image square{size, size, std::vector<uint8_t>(static_cast<size_t>(size * size * 3))};
  for (size_t i = 0; i < square.rgb.size(); i++) square.rgb[i] = config.background[i % 3];
  // [janus/models/image_processing_vlm.py: expand2square]
  const int64_t left = (size - resized.width) / 2, top = (size - resized.height) / 2;
  for (int64_t y = 0; y < resized.height; y++) {
    std::memcpy(square.rgb.data() + ((top + y) * size + left) * 3, resized.rgb.data() + y * resized.width * 3,
                static_cast<size_t>(resized.width * 3));
  }
  return square;
}

Tensor Preprocess(const Image& image, const ImageProcessorConfig& config) {
  const Image square = ResizeAndPad(image, config);
  const int64_t pixels = square.width * square.height;
  Tensor out(DType::kF32, {3, square.height, square.width});
  for (size_t c = 0; c < 3; c++) {
    float values[256];
    for (int v = 0; v < 256; v++) {
      // rescale multiplies in f64 and rounds to f32, normalize is f32 throughout
      // [transformers/image_transforms.py]
      values[v] = static_cast<float>(v * config.rescale_factor);
      if (config.do_normalize) values[v] = (values[v] - config.mean[c]) / config.std[c];
    }
    float* plane = out.as<float>() + static_cast<int64_t>(c) * pixels;
    for (int64_t i = 0; i < pixels; i++) plane[i] = values[square.rgb[static_cast<size_t>(i) * 3 + c]];
  }
  return out;
}

}  // namespace bifrons
