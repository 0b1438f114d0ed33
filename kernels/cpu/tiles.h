// Products of bf16 matrices on AMX tiles, on the weights that PackLinear packed.
//
// A tile's rows are summed independently, each output in one accumulator over `in` in ascending order: a
// row's bits are the same in every company and for every RowClass.
#pragma once

#include "kernels/cpu/linear.h"

namespace bifrons::cpu {

/// Whether MultiplyOnTiles takes these rows of a matrix, with any number of activation rows. vdpbf16ps rounds
/// in another order, so only the matrix may decide.
bool SuitsTiles(Isa, const PackedRows&);

/// x [rows, in] · Wᵀ + bias for either RowClass.
void MultiplyOnTiles(Workspace&, const PackedRows&, const float* x, int64_t rows, const Target&);

/// Whether f32 rows [rows, width] in own layout stand as panels (tile_kernels.h): rounded to bf16, which the
/// products that read them would do anyway.
bool StandsInPanels(Isa, DType compute, int64_t rows, int64_t width);

/// Multiply (linear.h) where x, y or both stand in panels.
void MultiplyPanels(Workspace&, const PackedLinear&, const float* x, bool x_panels, int64_t rows, RowClass,
                    Epilogue, float* y, bool y_panels);

}  // namespace bifrons::cpu
