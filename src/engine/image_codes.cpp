#include "src/engine/image_codes.h"

#include <cmath>
#include <limits>

#include "vision/png.h"

namespace bifrons {

Image FitForCodes(Janus& janus, const Image& image) {
  ImageProcessorConfig processor = janus.image_processor();
  processor.image_size = janus.config().vq.image_size();
  return ResizeAndPad(image, processor);
}

Result<std::vector<int32_t>> EncodeImage(Janus& janus, const Image& fitted) {
  Tensor pixels(DType::kF32, {fitted.height, fitted.width, 3});
  // The decoder's range: x/255·2 − 1, whatever the vision tower's mean and deviation are.
  for (size_t i = 0; i < fitted.rgb.size(); i++)
    pixels.as<float>()[i] = (static_cast<float>(fitted.rgb[i]) / 255.0f - 0.5f) / 0.5f;
  return janus.vq_encoder().Encode(janus.pool(), pixels.view());
}

Result<Image> DecodeCodes(Janus& janus, std::span<const int32_t> codes) {
  BIFRONS_TRY(const Tensor pixels, janus.vq().Decode(janus.pool(), codes));
  return Image{pixels.shape()[1], pixels.shape()[0], ToRgb8(pixels.view())};
}

double Psnr(const Image& a, const Image& b) {
  BIFRONS_CHECK(a.rgb.size() == b.rgb.size());
  double squares = 0;
  for (size_t i = 0; i < a.rgb.size(); i++) {
    const double difference = static_cast<double>(a.rgb[i]) - b.rgb[i];
    squares += difference * difference;
  }
  if (squares == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(255.0 * 255.0 * static_cast<double>(a.rgb.size()) / squares);
}

}  // namespace bifrons
