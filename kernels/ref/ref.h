// The ref device: every op as a plain scalar loop, the oracle of every other device.
#pragma once

#include <memory>

#include "kernels/device.h"

namespace bifrons::ref {

std::unique_ptr<Device> MakeRefDevice(int threads);

}  // namespace bifrons::ref
