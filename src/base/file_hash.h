// The SHA-256 of what a file holds.
#pragma once

#include <string>

#include "src/base/result.h"

namespace bifrons {

/// 64 lower-case hexadecimal digits. Errors: OpenRegularFile's (kBadData), cannot be read (kFailure),
/// Interrupted() when a stop is requested meanwhile.
Result<std::string> Sha256OfFile(const std::string& path);
/// The same of a file that is open, from its beginning, wherever the descriptor stands. `path` is for
/// messages.
Result<std::string> Sha256OfDescriptor(int fd, const std::string& path);

}  // namespace bifrons
