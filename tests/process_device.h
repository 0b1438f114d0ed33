// A deliberately odd device: everything it has lives in another process, which is reached through a socket
// and does what it is told with the ref device. It derives from no device, and so shows how small the
// interface is.
#pragma once

#include <memory>

#include "kernels/device.h"

namespace bifrons {

/// Starts the other process, which ends with the device.
std::unique_ptr<Device> MakeProcessDevice();

}  // namespace bifrons
