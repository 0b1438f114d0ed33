// Numbers of one type made numbers of another.
#pragma once

#include "src/base/tensor.h"

namespace bifrons::host {

/// to [n] of f32 or bf16 = the numbers of `from` (f32, bf16, f16 or in blocks): widening is exact, bf16 is
/// rounded to nearest. Of f32 also blocks are made.
void Convert(TensorView from, DType type, void* to);

}  // namespace bifrons::host
