// Paths out of files that anybody may have written: opened below a folder, or not at all.
#pragma once

#include <sys/types.h>

#include <string>

#include "src/base/result.h"

namespace bifrons {

/// Of one path: as many as the kernel follows.
constexpr int kMostSymbolicLinks = 40;

/// Opens `relative` below the folder that `folder` is open on, with open's `flags` (O_CLOEXEC is added) and
/// `mode`. Symbolic links are followed as long as they stay below it; nothing that others rename meanwhile
/// leads out either. The caller closes the descriptor. With O_NONBLOCK a FIFO does not keep anybody waiting.
/// Errors (kFailure), which begin with `relative`: the system's; an absolute path, or a ".." or a link that
/// leads out.
Result<int> OpenBeneath(int folder, const std::string& relative, int flags, mode_t mode = 0666);
Result<int> OpenBeneath(const std::string& folder, const std::string& relative, int flags,
                        mode_t mode = 0666);

}  // namespace bifrons
