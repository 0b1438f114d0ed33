// Tall bf16 matrices on AMX tiles, on the weights that the decode product packed.
#pragma once

#include "kernels/cpu/linear.h"

namespace bifrons::cpu {

/// Whether MultiplyOnTiles takes this matrix with this many rows. Depends on the matrix, the instruction set
/// and the request's own rows only.
bool SuitsTiles(Isa, const PackedLinear&, int64_t rows);

/// Ops::linear for RowClass::kPrefill: y [rows, out] = x [rows, in] · Wᵀ + bias, or y += ….
void MultiplyOnTiles(ThreadPool&, const PackedLinear&, const float* x, int64_t rows, bool accumulate,
                     float* y);

/// The same of two matrices of a perceptron, for GeluMlpOnTiles.
bool MlpSuitsTiles(Isa, const PackedLinear& fc1, const PackedLinear& fc2, int64_t rows);

/// Ops::gelu_mlp.
void GeluMlpOnTiles(ThreadPool&, const PackedLinear& fc1, const PackedLinear& fc2, const float* x,
                    int64_t rows, float* scratch, float* y);

}  // namespace bifrons::cpu
