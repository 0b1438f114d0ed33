// Which device a model is loaded on.
#pragma once

#include <memory>

#include "kernels/device.h"
#include "src/model/load_options.h"

namespace bifrons {

/// The device that the options name, with the convolutions that they name; of kAutoDevice the first GPU, or
/// else the cpu. A GPU that is there and cannot be used is warned about on stderr; that there is none is said
/// with options.tell_device.
Result<std::unique_ptr<Device>> ChooseDevice(const LoadOptions& options);

/// kAutoDevice's second choice, for a model that does not fit the first for the reason given, which is warned
/// about.
Result<std::unique_ptr<Device>> FallBackToCpu(const LoadOptions& options, const Error& reason);

}  // namespace bifrons
