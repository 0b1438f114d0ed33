// Full attention of the cpu backend. A task is a head and a block of its positions, so the results do not
// depend on the thread count.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/ops.h"

namespace bifrons::cpu {

/// Ops::full_attention.
void AttendToAll(Isa, ThreadPool&, const FullAttention&, void* y);

}  // namespace bifrons::cpu
