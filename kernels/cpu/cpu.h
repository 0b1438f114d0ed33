// The cpu backend: own SIMD kernels for rows, oneDNN for convolutions and prefill.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/ops.h"

namespace bifrons::cpu {

/// The table of one instruction set, which this processor must have (SupportedIsas).
const Ops& CpuOps(Isa);

/// Multiply-accumulates of `rounds` rounds of a loop that never leaves the registers or tiles; see
/// RowKernels.
int64_t PeakMacs(Isa, DType compute, int64_t rounds);

}  // namespace bifrons::cpu
