// Products on the reference device, and how far another device's may be from them.
#pragma once

#include <span>

#include "kernels/op_matrix/case.h"

namespace bifrons::op_matrix {

inline constexpr Epilogue kEpilogues[] = {Epilogue::kNone, Epilogue::kAdd, Epilogue::kGelu,
                                          Epilogue::kSiluMul};

/// Stacked matrices, made on the host.
struct Stack {
  std::vector<Numbers> parts;
  std::vector<Numbers> bias;  // one, or none

  Stack Absolute() const;
  std::unique_ptr<Linear> Pack(Device& device, DType compute) const;
};

/// Weights [out, in] in as many parts as there are types, of unequal sizes; the bias has the first one's
/// type.
Stack MakeStack(std::span<const DType> types, int64_t out, int64_t in, bool with_bias, uint64_t seed);

/// x [rows, in] · Wᵀ + bias on the reference device, f32 [rows, out].
Tensor Product(Device& reference, const Stack& stack, DType compute, const TensorView& x);

/// Products and bounds of their errors.
struct Bounded {
  std::vector<double> values, errors;
};

/// What x · Wᵀ + bias is and how far two devices' sums may be apart. Each sums `in` products and the bias in
/// f32: at most in + 3 roundings of numbers that Σ|x||w| + |bias| bounds, twice as many where a pair's two
/// products round apart. The rounding of x to bf16 is the same on both sides and grows Σ by at most 2⁻⁸.
Bounded BoundedProduct(Device& reference, const Stack& stack, DType compute, const Numbers& x);

/// The exact erf form, and silu: of numbers that are `error` from theirs. Slopes are below 1.13 and 1.1.
Bounded Gelu(const Bounded& x);
/// values[:, i] = silu(values[:, i]) · values[:, width/2 + i] of rows [width].
Bounded SiluMul(const Bounded& x, int64_t width);

/// Bounds of a device's own gelu and of silu(gate) · up where their arguments are exact; the derivations are
/// with them.
double GeluError(double x);
double SiluMulError(double gate, double up);
double ExactGelu(double x);
double ExactSilu(double x);

const char* NameOf(Epilogue epilogue);
const char* NameOf(RowClass row_class);

}  // namespace bifrons::op_matrix
