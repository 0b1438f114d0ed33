// Tall matrices through oneDNN, on the weights that the decode product packed.
#pragma once

#include "kernels/cpu/linear.h"

namespace bifrons::cpu {

/// Whether PrefillRows takes these rows of a matrix with so many activation rows; if not, whatever decode
/// rows take does. Depends on the matrix, the instruction set and the request's own rows only.
bool PrefillsWithOneDnn(Isa, const PackedRows&, int64_t rows);

/// x [rows, in] · Wᵀ + bias for RowClass::kPrefill.
void PrefillRows(Workspace&, const PackedRows&, const float* x, int64_t rows, const Target&);

}  // namespace bifrons::cpu
