// A model's folder in the hub's cache: models--org--name/{refs/main, snapshots/<commit>/, blobs/}.
// huggingface_hub/file_download.py: repo_folder_name, _get_pointer_path
#pragma once

#include <string>

#include "src/base/result.h"

namespace bifrons {

/// The folder with the model's files: of a hub cache's folder the snapshot that refs/main names or, without
/// that file, the only one; any other `folder` itself. Errors (kBadData): a snapshot that refs/main names is
/// not there, none at all, or several to choose from; those that there are are named.
Result<std::string> ResolveSnapshot(const std::string& folder);

/// What a model in `folder` is called: the folder's name, of a hub cache's snapshot the repository's.
std::string ModelName(const std::string& folder);

}  // namespace bifrons
