// Which of a repository's files a model needs, and whether a folder has them all.
#pragma once

#include <string>
#include <vector>

#include "src/hub/listing.h"

namespace bifrons {

/// Configuration, tokenizer, preprocessor, chat template, and the weights in one format, safetensors before
/// pickles: the files that the loader would take (src/model/checkpoint/checkpoint.h). config.json comes last.
/// `from` names the repository in errors (kBadData): no config.json, an adapter, no weights that can be read.
Result<std::vector<RemoteFile>> ChooseFiles(const std::vector<RemoteFile>& files, const std::string& from);

/// Whether `folder` has configuration, tokenizer and all weights of a model.
bool IsWholeModel(const std::string& folder);

}  // namespace bifrons
