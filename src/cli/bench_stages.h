// What bench measured, by stage: taken from its JSON, today's or an earlier run's.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "src/base/result.h"

namespace bifrons {

/// How a share of a measured limit comes to be more than all of it.
inline constexpr const char* kBeyondLimits =
    "more than 100 %: weights came out of the caches, a convolution took fewer products than are counted, "
    "or\n"
    "other programs were busy while the limit was measured\n";

struct Stage {
  std::string name;  // "decode step, 2 rows"
  double ms = 0;
  double gbs = 0, gmacs = 0;  // GB/s and GMAC/s; 0 where that is no measure of it
  double percent = 0;         // of the limit that was measured beside it; 0: of none
  double pictures_per_second = 0, image_tokens_per_second = 0;  // of whole pictures
};

/// The stages that `document` has; what is not as bench writes it is passed over.
std::vector<Stage> StagesOf(const nlohmann::json& document);

/// An earlier run to compare with.
struct EarlierRun {
  /// Of a file that bench --json wrote. Errors (kBadData): it cannot be read, or has no stage.
  static Result<EarlierRun> Read(const std::string& path);

  /// What `document`'s run and this one do not have in common: "processor, threads"; "" = nothing.
  std::string Differences(const nlohmann::json& document) const;
  /// How long the stage took then.
  std::optional<double> MsOf(const std::string& stage) const;

  std::vector<std::pair<std::string, std::string>> settings;  // (processor, …)
  std::vector<Stage> stages;
};

/// A line for each of the stages that StagesOf finds, with the run's settings behind it, and a line of names
/// first. `before` may be null.
std::string ToCsv(const nlohmann::json& document, const EarlierRun* before);

}  // namespace bifrons
