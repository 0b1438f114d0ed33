// The SHA-256 of what a file holds.
#pragma once

#include <string>

#include "src/base/result.h"

namespace bifrons {

/// 64 lower-case hexadecimal digits. Errors: OpenRegularFile's (kBadData), cannot be read (kFailure),
/// Interrupted() when a stop is requested meanwhile.
Result<std::string> Sha256OfFile(const std::string& path);

}  // namespace bifrons
