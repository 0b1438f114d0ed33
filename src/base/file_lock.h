// Waiting for a file's lock, so that signals end it.
#pragma once

#include "src/base/result.h"

namespace bifrons {

/// Takes the exclusive advisory lock of an open file, which lasts until that is closed. Where the file system
/// has no locks, it is as if nobody else were there. Errors: Interrupted().
Status WaitForLock(int file);

}  // namespace bifrons
