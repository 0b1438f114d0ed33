// Which model a command means.
#pragma once

#include <string>

#include "src/base/result.h"
#include "src/model/checkpoint/model_texts.h"

namespace bifrons {

/// What the model that ships with the program is called.
inline constexpr const char* kBundledName = "janus-mini";

/// The folder of the model that ships with the program: share/bifrons beside an installed binary, assets/
/// above a build folder. An error says where it was looked for.
Result<std::string> BundledModel();

/// `model`, or $BIFRONS_MODEL, or the bundled model, which its name means where no folder has it; of a hub
/// cache's folder its snapshot, and of a folder whose only weights are one GGUF that file. Errors:
/// ResolveSnapshot's; several GGUFs (kBadData).
Result<std::string> ResolveModel(const std::string& model);

/// The texts of `model`, a folder, a GGUF or "random:…", which has none. Errors: OpenGguf's, and why what is
/// none of them is no model, and what would be one.
Result<ModelTexts> OpenModelTexts(const std::string& model);

/// The texts of the model whose tokenizer belongs to `model`: its own, or the bundled model's for "random:…".
/// An adapter's folder without a tokenizer is an error.
Result<ModelTexts> OpenTokenizerTexts(const std::string& model);

}  // namespace bifrons
