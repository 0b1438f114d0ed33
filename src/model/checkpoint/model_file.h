// The files of a model's folder, as downloads leave them.
#pragma once

#include <string>

#include "src/base/mapped_file.h"
#include "src/base/result.h"

namespace bifrons {

/// Any file that a model is published with. Errors: MappedFile::Open's; a Git LFS pointer, which is what a
/// clone without git-lfs leaves in a file's place.
Result<MappedFile> OpenModelFile(const std::string& path);

}  // namespace bifrons
