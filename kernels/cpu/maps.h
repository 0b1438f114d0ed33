// Feature maps of the cpu backend: who computes what part, in which order. The loops are in maps-inl.h,
// convolutions in conv.h.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/ops.h"

namespace bifrons::cpu {

/// Sets pack_conv, conv2d, group_norm, upsample2x, and full_attention.
void FillMapOps(Isa isa, Ops& ops);

}  // namespace bifrons::cpu
