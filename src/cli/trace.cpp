// bifrons trace: teacher forcing into .npy files.
#include "src/engine/trace.h"

#include <cstdio>
#include <filesystem>

#include "src/base/npy.h"
#include "src/cli/commands.h"

namespace bifrons {
namespace {

TensorView Ids(const std::vector<int32_t>& ids) {
  return {ids.data(), DType::kI32, {static_cast<int64_t>(ids.size())}};
}

}  // namespace

Result<int> RunTrace(const TraceOptions& options) {
  BIFRONS_TRY(const Tensor codes, ReadNpy(options.codes));
  if (codes.dtype() != DType::kI32 || codes.shape().rank() != 1) {
    return DataError(options.codes +
                     ": int32 [N] is needed, as generate --codes-out writes for one picture; this is " +
                     NameOf(codes.dtype()) + " " + codes.shape().ToString());
  }
  std::error_code error;
  std::filesystem::create_directories(options.out, error);
  if (!std::filesystem::is_directory(options.out, error))
    return Failure(options.out + ": cannot make this folder");

  BIFRONS_TRY(const std::unique_ptr<Janus> janus, Janus::Load(options.load));
  auto trace =
      TraceCodes(*janus, options.prompt, {codes.as<int32_t>(), static_cast<size_t>(codes.shape()[0])});
  if (!trace.ok()) return Error{trace.error().kind, options.codes + ": " + trace.error().message};

  const std::filesystem::path out(options.out);
  BIFRONS_RETURN_IF_ERROR(WriteNpy(out / "ids.npy", Ids(trace->prompt.conditional)));
  BIFRONS_RETURN_IF_ERROR(WriteNpy(out / "uncond_ids.npy", Ids(trace->prompt.unconditional)));
  BIFRONS_RETURN_IF_ERROR(WriteNpy(out / "logits_cond.npy", trace->logits_conditional.view()));
  BIFRONS_RETURN_IF_ERROR(WriteNpy(out / "logits_uncond.npy", trace->logits_unconditional.view()));
  if (!trace->pixels.empty()) BIFRONS_RETURN_IF_ERROR(WriteNpy(out / "pixels.npy", trace->pixels.view()));
  std::printf("%s\n", options.out.c_str());
  return 0;
}

}  // namespace bifrons
