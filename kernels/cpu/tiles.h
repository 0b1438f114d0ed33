// Products of bf16 matrices on AMX tiles, on the weights that PackLinear packed.
//
// A tile's rows are summed independently, each output in one accumulator over `in` in ascending order: a
// row's bits are the same in every company and for every RowClass.
#pragma once

#include "kernels/cpu/linear.h"

namespace bifrons::cpu {

/// Whether MultiplyOnTiles takes this matrix, with any number of rows. vdpbf16ps rounds in another order, so
/// only the matrix may decide.
bool SuitsTiles(Isa, const PackedLinear&);

/// Ops::linear for either RowClass: y [rows, out] = x [rows, in] · Wᵀ + bias, or y += ….
void MultiplyOnTiles(ThreadPool&, const PackedLinear&, const float* x, int64_t rows, bool accumulate,
                     float* y);

/// Whether GeluMlpOnTiles takes these two matrices of a perceptron with a request's own rows.
bool MlpSuitsTiles(Isa, const PackedLinear& fc1, const PackedLinear& fc2, int64_t rows);

/// Ops::gelu_mlp.
void GeluMlpOnTiles(ThreadPool&, const PackedLinear& fc1, const PackedLinear& fc2, const float* x,
                    int64_t rows, float* scratch, float* y);

}  // namespace bifrons::cpu
