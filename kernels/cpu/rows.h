// The row half of the cpu backend's table.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/ops.h"

namespace bifrons::cpu {

/// Sets pack_linear, linear, gather_rows, rms_norm, silu_mul, gelu, rope, kv_store and attention.
void FillRowOps(Isa isa, Ops& ops);

}  // namespace bifrons::cpu
