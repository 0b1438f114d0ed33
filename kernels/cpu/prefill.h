// Tall matrices through oneDNN, on the weights that the decode product packed.
#pragma once

#include "kernels/cpu/linear.h"

namespace bifrons::cpu {

/// Whether PrefillRows takes this matrix with this many rows; if not, whatever decode rows take does. Depends
/// on the matrix, the instruction set and the request's own rows only.
bool PrefillsWithOneDnn(Isa, const PackedLinear&, int64_t rows);

/// Ops::linear for RowClass::kPrefill: y [rows, out] = x [rows, in] · Wᵀ + bias, or y += ….
void PrefillRows(Isa, ThreadPool&, const PackedLinear&, const float* x, int64_t rows, bool accumulate,
                 float* y);

}  // namespace bifrons::cpu
