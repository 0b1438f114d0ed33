// A job's pictures on one sheet: a contact sheet, or an X/Y plot.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/jobs/plan.h"

namespace bifrons {

/// The sheet's file, made of the pictures' files, so that it is the same whichever run drew them. `columns`
/// of a contact sheet: 0 = about as many as rows; a plot's first axis gives its columns. Errors: DrawSheet's,
/// EncodePicture's, a picture that cannot be read.
Result<std::vector<uint8_t>> MakeSheet(const PlannedJob& planned, const std::vector<PlotAxis>& plot,
                                       int columns,
                                       const std::function<std::string(const std::string& file)>& path_of);

}  // namespace bifrons
