// X/Y plots: one prompt drawn with every combination of one or two settings' values.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/jobs/job.h"

namespace bifrons {

/// A setting and the values it takes.
struct PlotAxis {
  std::string name;                 // cfg, temperature, top_k, top_p, min_p, seed or prompt
  std::vector<std::string> values;  // as they were given
  std::vector<std::string> labels;  // one per value: "cfg 3"; a prompt's are the values themselves
};

/// One or two axes, each "name=value,value,…": the first one's values are a plot's columns, the second one's
/// its rows. The values of `prompt` are texts, as in A1111's prompt S/R: wherever the job's prompt has the
/// first, the others stand in turn; one with commas goes into double quotes, which are doubled within. Errors
/// (kUsage): how many axes, an unknown or repeated name, a value that is none, out of range or repeated, more
/// than a million pictures of a job.
Result<std::vector<PlotAxis>> ParsePlot(const std::vector<std::string>& axes);

/// The same axes out of a manifest's header: a list of objects with "name" and "values". Errors (kBadData):
/// another shape, and whatever ParsePlot refuses.
Result<std::vector<PlotAxis>> PlotFromJson(const nlohmann::json& json);

/// Sets value `i` of the axis in the job. Errors (kUsage): the prompt does not have the text to replace, or
/// nothing would be left of it.
Status ApplyAxis(PictureJob& job, const PlotAxis& axis, size_t i);

}  // namespace bifrons
