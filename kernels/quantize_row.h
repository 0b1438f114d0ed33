// How a row of activations becomes small integers for a product with weights in blocks (src/base/blocks.h).
// Every device does this and no other, so that its products are bit-equal to every other one's.
#pragma once

#include <cstdint>

namespace bifrons {

/// Values that share a scale, of activations and of every quantised type's sums.
constexpr int64_t kQuantizedGroup = 32;

/// Magnitudes below vanish beside anything: their group is zero.
constexpr float kLeastQuantized = 0x1p-100f;

/// q [n] and scales [n / 32] of x [n], whole groups: x ≈ scale · q, the largest magnitude becomes ±127, to
/// nearest, ties to even. A group with NaN or infinity has NaN for a scale.
///
/// An output of a product is then, f32, with the groups in ascending order and w ≈ s · step − m:
///   acc = fmaf(float(Σ q · step), s · scale, acc), and where the type has minima
///   acc = fmaf(float(−Σ q), m · scale, acc)
void QuantizeRow(const float* x, int64_t n, int8_t* q, float* scales);

}  // namespace bifrons
