#include "src/cli/drawn_size.h"

#include "src/model/model_path.h"
#include "src/model/weight_source.h"

namespace bifrons {

Status CheckDrawnSize(const std::string& verb, const LoadOptions& load, const PictureSize& asked) {
  if (asked.width == 0 && asked.height == 0) return {};
  BIFRONS_TRY(const std::string model, ResolveModel(load.model));
  BIFRONS_TRY(const auto weights, OpenWeights(model));
  const int64_t side = weights->config().vq.image_size();
  const auto differs = [&](int64_t pixels) { return pixels != 0 && pixels != side; };
  if (!differs(asked.width) && !differs(asked.height)) return {};
  const std::string drawn = std::to_string(side);
  return UsageError(
      verb + ": " +
      (differs(asked.width) ? "--width " + std::to_string(asked.width)
                            : "--height " + std::to_string(asked.height)) +
      ": the model draws " + drawn + "x" + drawn +
      " pixels and nothing else; in a JSON or CSV list a job may have a width and a height, to which "
      "bifrons render resamples its pictures");
}

}  // namespace bifrons
