// bifrons vq: images to image tokens and back.
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "src/base/npy.h"
#include "src/base/stop.h"
#include "src/cli/commands.h"
#include "src/engine/image_codes.h"
#include "vision/png.h"

namespace bifrons {
namespace {

Result<int> Encode(const VqOptions& options, Janus& janus) {
  BIFRONS_TRY(const Image image, LoadImage(options.input, options.image));
  BIFRONS_TRY(const auto codes, EncodeImage(janus, FitForCodes(janus, image)));
  if (StopRequested()) return Interrupted();
  const TensorView view{codes.data(), DType::kI32, {static_cast<int64_t>(codes.size())}};
  BIFRONS_RETURN_IF_ERROR(WriteNpy(options.output, view));
  std::printf("%s\n", options.output.c_str());
  return 0;
}

Result<int> Decode(const VqOptions& options, Janus& janus) {
  BIFRONS_TRY(const Tensor codes, ReadNpy(options.input));
  if (codes.dtype() != DType::kI32 || codes.shape().rank() != 1) {
    return DataError(options.input + ": int32 [N] is needed, as vq encode writes; this is " +
                     NameOf(codes.dtype()) + " " + codes.shape().ToString());
  }
  const auto image = DecodeCodes(janus, {codes.as<int32_t>(), static_cast<size_t>(codes.shape()[0])});
  if (!image.ok()) return Error{image.error().kind, options.input + ": " + image.error().message};
  if (StopRequested()) return Interrupted();
  BIFRONS_RETURN_IF_ERROR(WritePng(options.output, image->width, image->height, image->rgb, {}));
  std::printf("%s\n", options.output.c_str());
  return 0;
}

Result<int> Roundtrip(const VqOptions& options, Janus& janus) {
  BIFRONS_TRY(const Image image, LoadImage(options.input, options.image));
  const Image fitted = FitForCodes(janus, image);
  BIFRONS_TRY(const auto codes, EncodeImage(janus, fitted));
  if (StopRequested()) return Interrupted();
  BIFRONS_TRY(const Image decoded, DecodeCodes(janus, codes));
  if (StopRequested()) return Interrupted();
  if (!options.output.empty()) {
    BIFRONS_RETURN_IF_ERROR(WritePng(options.output, decoded.width, decoded.height, decoded.rgb, {}));
  }
  const double psnr = Psnr(fitted, decoded);
  if (options.json) {
    const nlohmann::json line = {{"tokens", codes.size()},
                                 {"width", decoded.width},
                                 {"height", decoded.height},
                                 {"psnr_db", std::isfinite(psnr) ? nlohmann::json(psnr) : nlohmann::json()}};
    std::printf("%s\n", line.dump().c_str());
  } else {
    std::printf("%zu tokens, PSNR %.2f dB\n", codes.size(), psnr);
  }
  return 0;
}

}  // namespace

Result<int> RunVq(const VqOptions& options) {
  using Action = VqOptions::Action;
  LoadOptions load = options.load;
  load.parts = {.language = false,
                .drawing = false,
                .vq_decoder = options.action != Action::kEncode,
                .vq_encoder = options.action != Action::kDecode,
                .understanding = false};
  BIFRONS_TRY(const std::unique_ptr<Janus> janus, Janus::Load(load));
  switch (options.action) {
    case Action::kEncode:
      return Encode(options, *janus);
    case Action::kDecode:
      return Decode(options, *janus);
    case Action::kRoundtrip:
      break;
  }
  return Roundtrip(options, *janus);
}

}  // namespace bifrons
