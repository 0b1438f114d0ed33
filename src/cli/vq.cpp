// bifrons vq: images to image tokens and back.
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "src/base/npy.h"
#include "src/base/stop.h"
#include "src/cli/answering.h"
#include "src/cli/commands.h"
#include "src/cli/output_file.h"
#include "src/engine/image_codes.h"
#include "vision/png.h"

namespace bifrons {
namespace {

Status WriteImage(const OutputFile& file, const Image& image) {
  BIFRONS_TRY(const auto png,
              EncodePng(image.width, image.height, image.rgb, {{"Software", "bifrons " BIFRONS_VERSION}}));
  return file.Write(png);
}

Result<int> Encode(const VqOptions& options, Janus& janus) {
  BIFRONS_TRY(const Image image, LoadImage(options.inputs[0], options.image));
  const auto codes = EncodeImage(janus, FitForCodes(janus, image));
  if (StopRequested()) return Interrupted();
  const TensorView view{codes.data(), DType::kI32, {static_cast<int64_t>(codes.size())}};
  BIFRONS_RETURN_IF_ERROR(WriteNpy(options.output, view));
  std::printf("%s\n", options.output.c_str());
  return 0;
}

Result<int> Decode(const VqOptions& options, const std::optional<OutputFile>& output, Janus& janus) {
  BIFRONS_TRY(const Tensor codes, ReadNpy(options.inputs[0]));
  if (codes.dtype() != DType::kI32 || codes.shape().rank() != 1) {
    return DataError(options.inputs[0] + ": int32 [N] is needed, as vq encode writes; this is " +
                     NameOf(codes.dtype()) + " " + codes.shape().ToString());
  }
  const auto image = DecodeCodes(janus, {codes.as<int32_t>(), static_cast<size_t>(codes.shape()[0])});
  if (!image.ok()) return Error{image.error().kind, options.inputs[0] + ": " + image.error().message};
  if (StopRequested()) return Interrupted();
  BIFRONS_RETURN_IF_ERROR(WriteImage(*output, *image));
  std::printf("%s\n", options.output.c_str());
  return 0;
}

Result<int> Roundtrip(const VqOptions& options, const std::optional<OutputFile>& output, Janus& janus) {
  BIFRONS_TRY(const Image image, LoadImage(options.inputs[0], options.image));
  const Image fitted = FitForCodes(janus, image);
  const auto codes = EncodeImage(janus, fitted);
  if (StopRequested()) return Interrupted();
  BIFRONS_TRY(const Image decoded, DecodeCodes(janus, codes));
  if (StopRequested()) return Interrupted();
  if (output) {
    BIFRONS_RETURN_IF_ERROR(WriteImage(*output, decoded));
  }
  const double psnr = Psnr(fitted, decoded);
  if (options.json) {
    const nlohmann::json line = {{"image", ShownSource(options.inputs[0])},
                                 {"file", output ? nlohmann::json(output->path()) : nlohmann::json()},
                                 {"tokens", codes.size()},
                                 {"width", decoded.width},
                                 {"height", decoded.height},
                                 {"psnr_db", std::isfinite(psnr) ? nlohmann::json(psnr) : nlohmann::json()}};
    std::printf("%s\n", JsonLine(line).c_str());
  } else {
    std::printf("%zu tokens, PSNR %.2f dB\n", codes.size(), psnr);
    if (output) std::printf("%s\n", options.output.c_str());
  }
  return 0;
}

}  // namespace

Result<int> RunVq(const VqOptions& options) {
  using Action = VqOptions::Action;
  std::optional<OutputFile> output;
  if (!options.output.empty()) {
    BIFRONS_TRY(output, OutputFile::Claim(options.output, options.force));
    BIFRONS_RETURN_IF_ERROR(output->CheckIsNot(options.inputs[0], "the input"));
  }
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
      return Decode(options, output, *janus);
    case Action::kRoundtrip:
      break;
  }
  return Roundtrip(options, output, *janus);
}

}  // namespace bifrons
