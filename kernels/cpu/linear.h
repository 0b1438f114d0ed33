// Matrices of the cpu backend: one packed copy serves vector instructions, tiles and oneDNN.
#pragma once

#include <vector>

#include "kernels/cpu/row_kernels.h"
#include "kernels/cpu/weight_memory.h"
#include "kernels/ops.h"

namespace bifrons::cpu {

/// Stripes of 32 output rows, the last one padded with zeros. Within a stripe, `in` outermost: [in][32] for
/// f32 and f16; [in/2][32][2] for bf16, the operand order of vdpbf16ps (`in` padded to even). When `in` is a
/// multiple of 16 these are oneDNN's BA16a32b and BA16a32b2a.
struct PackedLinear : Linear {
  WeightMemory weights;
  size_t stripe_bytes = 0;
  std::vector<float> bias;  // [out], or empty

  int64_t stripes() const { return (out + kStripe - 1) / kStripe; }
  const uint8_t* stripe(int64_t s) const { return weights.data() + s * stripe_bytes; }
};

/// Ops::pack_linear; the layout is the same for every instruction set.
std::unique_ptr<Linear> PackLinear(ThreadPool&, std::span<const TensorView> parts, TensorView bias,
                                   DType compute);

/// Ops::linear with vector instructions, for any number of rows.
void MultiplyRows(Isa, ThreadPool&, const PackedLinear&, const float* x, int64_t rows, bool accumulate,
                  float* y);

}  // namespace bifrons::cpu
