// Whether the process has been asked to end: set by a signal, looked at by everything that takes long or may
// wait for ever.
#pragma once

#include "src/base/result.h"

namespace bifrons {

/// Asks whatever is running to end soon. Safe in a signal handler.
void RequestStop();
bool StopRequested();
/// Takes the request back: who asked was content to end one of several things.
void ClearStop();
/// Readable while a stop is requested: to be polled beside a descriptor that may keep its reader waiting.
int StopDescriptor();
/// What those return who end early because of it (kFailure).
Error Interrupted();

}  // namespace bifrons
