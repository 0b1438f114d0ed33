// The size that pictures are asked for, against the one that a model draws.
#pragma once

#include "src/base/result.h"
#include "src/cli/options.h"
#include "src/model/load_options.h"

namespace bifrons {

/// Told before weights are loaded. Errors: `asked` is no size that the model of `load` draws, with both
/// (kUsage, beginning with `verb`); those of opening the model.
Status CheckDrawnSize(const std::string& verb, const LoadOptions& load, const PictureSize& asked);

}  // namespace bifrons
