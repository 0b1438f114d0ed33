// Models that are named by their repository.
#pragma once

#include "src/base/result.h"
#include "src/cli/options.h"

namespace bifrons {

/// Whether -q was given.
bool IsQuiet(const Command& command);

/// Puts the folder of its snapshot in the place of every "hf:ORG/NAME[@REVISION]" of a command, or of
/// $BIFRONS_MODEL's where the command names none, and downloads what the cache lacks. Errors: Pull's;
/// "ORG/NAME" without hf: where no folder has that name (kBadData), which tells of both.
Status FetchModel(Command& command);

}  // namespace bifrons
