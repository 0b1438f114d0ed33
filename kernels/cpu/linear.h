// Matrices of the cpu device: one packed copy serves vector instructions, tiles and oneDNN.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kernels/cpu/weight_memory.h"
#include "kernels/cpu/workspace.h"
#include "kernels/queue.h"

namespace bifrons::cpu {

/// Rows [first, first + out) of a matrix, all of one type. Stripes of 32 output rows, the last one padded
/// with zeros. Within a stripe, `in` outermost: [in][32] for f32 and f16; [in/2][32][2] for bf16, the operand
/// order of vdpbf16ps (`in` padded to even); groups of 32 `in` for types in blocks (row_kernels.h). When `in`
/// is a multiple of 16 the plain ones are oneDNN's BA16a32b and BA16a32b2a.
struct PackedRows {
  int64_t first = 0, out = 0, in = 0;
  DType stored = DType::kF32, compute = DType::kF32;
  WeightMemory weights;
  size_t stripe_bytes = 0;
  std::vector<float> bias;  // [out], or empty

  int64_t stripes() const { return (out + kStripe - 1) / kStripe; }
  const uint8_t* stripe(int64_t s) const { return weights.data() + static_cast<size_t>(s) * stripe_bytes; }
};

/// Stacked parts of several types are not widened: neighbours of one type are packed together.
struct PackedLinear : Linear {
  std::vector<PackedRows> parts;
};

/// y [rows, out] at its first column, rows y_stride floats apart.
struct Target {
  float* y;
  int64_t y_stride;
  bool accumulate;  // y += …
};

/// Device::PackLinear; the layout is the same for every instruction set.
std::unique_ptr<Linear> PackLinear(ThreadPool&, std::span<const TensorView> parts, TensorView bias,
                                   DType compute);

/// Queue::Multiply; x and y as contiguous rows, or in own layout as the flags say.
void Multiply(Workspace&, const PackedLinear&, const float* x, bool x_own, int64_t rows, RowClass, Epilogue,
              float* y, bool y_own);

/// x [rows, in] · Wᵀ + bias with vector instructions, for any number of rows.
void MultiplyRows(Workspace&, const PackedRows&, const float* x, int64_t rows, const Target&);

}  // namespace bifrons::cpu
