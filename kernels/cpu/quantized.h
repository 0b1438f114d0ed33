// Weights in blocks as the cpu device packs them: in stripes, which row_kernels.h lays out.
#pragma once

#include <span>

#include "kernels/cpu/linear.h"

namespace bifrons::cpu {

/// Bytes of a stripe of rows of `in` numbers of a type in blocks.
size_t QuantizedStripeBytes(DType type, int64_t in);

/// Fills the stripes of `rows`, whose memory is zero, from its parts.
void PackQuantized(ThreadPool&, std::span<const TensorView> parts, PackedRows& rows);

}  // namespace bifrons::cpu
