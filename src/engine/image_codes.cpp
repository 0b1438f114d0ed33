#include "src/engine/image_codes.h"

#include <cmath>
#include <limits>

#include "src/engine/prefill.h"

namespace bifrons {

Image FitForCodes(Janus& janus, const Image& image) {
  ImageProcessorConfig processor = janus.image_processor();
  processor.image_size = janus.config().vq.image_size();
  return ResizeAndPad(image, processor);
}

std::vector<int32_t> EncodeImage(Janus& janus, const Image& fitted) {
  Tensor pixels(DType::kF32, {fitted.height, fitted.width, 3});
  // The decoder's range: x/255·2 − 1, whatever the vision tower's mean and deviation are.
  for (size_t i = 0; i < fitted.rgb.size(); i++)
    pixels.as<float>()[i] = (static_cast<float>(fitted.rgb[i]) / 255.0f - 0.5f) / 0.5f;
  Queue& queue = janus.images();
  const DeviceTensor on_device = janus.device().NewTensor(DType::kF32, pixels.shape());
  const DeviceTensor codes = janus.device().NewTensor(DType::kI32, {janus.config().vq.tokens()});
  queue.Upload(pixels.view(), on_device.view());
  janus.vq_encoder().Encode(queue, on_device.view(), codes.view());
  std::vector<int32_t> all(static_cast<size_t>(janus.config().vq.tokens()));
  queue.Wait(queue.Download(codes.view(), all.data()));
  return all;
}

DeviceTensor DecodePixels(Janus& janus, View codes) {
  const int64_t side = janus.config().vq.image_size();
  DeviceTensor pixels = janus.device().NewTensor(DType::kF32, {side, side, 3});
  janus.vq().Decode(janus.images(), codes, pixels.view());
  return pixels;
}

Image DecodeImage(Janus& janus, View codes) {
  Queue& queue = janus.images();
  const DeviceTensor pixels = DecodePixels(janus, codes);
  const DeviceTensor bytes = janus.device().NewTensor(DType::kU8, pixels.shape());
  queue.ToBytes(pixels.view(), bytes.view());
  Image image{pixels.shape()[1], pixels.shape()[0], std::vector<uint8_t>(bytes.bytes())};
  queue.Wait(queue.Download(bytes.view(), image.rgb.data()));
  return image;
}

Result<Image> DecodeCodes(Janus& janus, std::span<const int32_t> codes) {
  BIFRONS_RETURN_IF_ERROR(janus.vq().CheckCodes(codes));
  return DecodeImage(janus, Uploaded(janus, janus.images(), codes).view());
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
