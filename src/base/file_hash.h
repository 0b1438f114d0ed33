// The SHA-256 of what a file holds.
#pragma once

#include <stop_token>
#include <string>

#include "src/base/result.h"

namespace bifrons {

/// 64 lower-case hexadecimal digits. Errors: OpenRegularFile's (kBadData), cannot be read (kFailure),
/// Interrupted() when a stop is requested meanwhile, of the process or by `stop`.
Result<std::string> Sha256OfFile(const std::string& path, const std::stop_token& stop = {});
/// The same of a file that is open, from its beginning, wherever the descriptor stands. `path` is for
/// messages.
Result<std::string> Sha256OfDescriptor(int fd, const std::string& path, const std::stop_token& stop = {});

}  // namespace bifrons
