// bifrons trace: what is behind a picture or an answer, into .npy files.
#include "src/engine/trace.h"

#include <cstdio>
#include <filesystem>

#include "src/base/npy.h"
#include "src/base/stop.h"
#include "src/cli/commands.h"
#include "src/cli/output_file.h"
#include "src/engine/answer.h"

namespace bifrons {
namespace {

TensorView Ids(const std::vector<int32_t>& ids) {
  return {ids.data(), DType::kI32, {static_cast<int64_t>(ids.size())}};
}

Result<int> TraceQuestion(const TraceOptions& options) {
  std::vector<Image> images;
  for (const std::string& source : options.images) {
    BIFRONS_TRY(Image image, LoadImage(source, options.image));
    images.push_back(std::move(image));
  }
  LoadOptions load = options.load;
  load.parts = kUnderstandingParts;
  load.parts.vq_encoder = true;
  load.skip_missing_parts = true;
  BIFRONS_TRY(const std::unique_ptr<Janus> janus, Janus::Load(load));
  if (!janus->parts().understanding)
    return DataError(janus->name() +
                     ": a drawing-only checkpoint without vision tensors: it cannot look at images");
  BIFRONS_TRY(const AnswerTrace trace,
              TraceAnswer(*janus, images, options.question.value_or(kDefaultQuestion), options.layers));
  if (StopRequested()) return Interrupted();

  BIFRONS_RETURN_IF_ERROR(MakeFolder(options.out));
  const std::filesystem::path out(options.out);
  BIFRONS_RETURN_IF_ERROR(WriteNpy(out / "ids.npy", Ids(trace.ids)));
  const TensorView logits{trace.logits.data(), DType::kF32, {static_cast<int64_t>(trace.logits.size())}};
  BIFRONS_RETURN_IF_ERROR(WriteNpy(out / "text_logits.npy", logits));
  const std::pair<const char*, const Tensor*> arrays[] = {{"pixel_values.npy", &trace.pixel_values},
                                                          {"vision.npy", &trace.vision},
                                                          {"vision_hidden.npy", &trace.vision_hidden},
                                                          {"aligned.npy", &trace.aligned},
                                                          {"hidden.npy", &trace.hidden},
                                                          {"vq_codes.npy", &trace.vq_codes}};
  for (const auto& [name, array] : arrays) {
    if (!array->empty()) BIFRONS_RETURN_IF_ERROR(WriteNpy(out / name, array->view()));
  }
  std::printf("%s\n", options.out.c_str());
  return 0;
}

Result<int> TracePicture(const TraceOptions& options) {
  BIFRONS_TRY(const Tensor codes, ReadNpy(options.codes));
  if (codes.dtype() != DType::kI32 || codes.shape().rank() != 1) {
    return DataError(options.codes +
                     ": int32 [N] is needed, as generate --codes-out writes for one picture; this is " +
                     NameOf(codes.dtype()) + " " + codes.shape().ToString());
  }
  BIFRONS_TRY(const std::unique_ptr<Janus> janus, Janus::Load(options.load));
  auto trace = TraceCodes(*janus, options.prompt,
                          {codes.as<int32_t>(), static_cast<size_t>(codes.shape()[0])}, options.layers);
  if (!trace.ok()) return Error{trace.error().kind, options.codes + ": " + trace.error().message};
  if (StopRequested()) return Interrupted();

  BIFRONS_RETURN_IF_ERROR(MakeFolder(options.out));
  const std::filesystem::path out(options.out);
  BIFRONS_RETURN_IF_ERROR(WriteNpy(out / "ids.npy", Ids(trace->prompt.conditional)));
  BIFRONS_RETURN_IF_ERROR(WriteNpy(out / "uncond_ids.npy", Ids(trace->prompt.unconditional)));
  BIFRONS_RETURN_IF_ERROR(WriteNpy(out / "logits_cond.npy", trace->logits_conditional.view()));
  BIFRONS_RETURN_IF_ERROR(WriteNpy(out / "logits_uncond.npy", trace->logits_unconditional.view()));
  if (options.layers) {
    BIFRONS_RETURN_IF_ERROR(WriteNpy(out / "hidden_cond.npy", trace->hidden_conditional.view()));
    BIFRONS_RETURN_IF_ERROR(WriteNpy(out / "hidden_uncond.npy", trace->hidden_unconditional.view()));
  }
  if (!trace->pixels.empty()) BIFRONS_RETURN_IF_ERROR(WriteNpy(out / "pixels.npy", trace->pixels.view()));
  std::printf("%s\n", options.out.c_str());
  return 0;
}

}  // namespace

Result<int> RunTrace(const TraceOptions& options) {
  BIFRONS_RETURN_IF_ERROR(CheckFolderCanBe(options.out));
  return options.codes.empty() ? TraceQuestion(options) : TracePicture(options);
}

}  // namespace bifrons
