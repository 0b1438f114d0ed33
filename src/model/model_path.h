// Which model a command means.
#pragma once

#include <string>

#include "src/base/result.h"

namespace bifrons {

/// The folder of the model that ships with the program: share/bifrons beside an installed binary, assets/
/// above a build folder. An error says where it was looked for.
Result<std::string> BundledModel();

/// `model`, or $BIFRONS_MODEL, or the bundled model; of a hub cache's folder its snapshot. Errors:
/// ResolveSnapshot's.
Result<std::string> ResolveModel(const std::string& model);

/// Why `model`, which is no folder, is no model either, and what would be one.
Error NoModelFolder(const std::string& model);

/// The folder whose tokenizer belongs to `model`: itself, or the bundled one for "random:…". An adapter's
/// folder without a tokenizer is an error.
Result<std::string> TokenizerFolder(const std::string& model);

}  // namespace bifrons
