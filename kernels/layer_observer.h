// How people who debug a network see between its layers.
#pragma once

#include <cstdint>
#include <functional>

#include "kernels/queue.h"

namespace bifrons {

/// Is shown the rows x f32 [rows, width] that flow through a network, as they are in the queue's order: those
/// that enter the first layer (0), those that leave each layer (1 … layers), and what the final norm makes of
/// the last ones (layers + 1). It must not change them.
using LayerObserver = std::function<void(Queue& queue, int64_t layer, View x)>;

}  // namespace bifrons
