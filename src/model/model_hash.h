// The name of a model's contents, for pictures' metadata.
#pragma once

#include <string>
#include <vector>

#include "src/base/result.h"

namespace bifrons {

/// SHA-256 (hex) over the names (without folders) and contents of `files`, in the order of the names. Each
/// file's hash is remembered under $XDG_CACHE_HOME/bifrons (or ~/.cache/bifrons) by its path, size and time;
/// a cache that cannot be written costs time, no error. Errors: Sha256OfFile's.
Result<std::string> HashFiles(std::vector<std::string> files);

}  // namespace bifrons
