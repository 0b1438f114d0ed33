// Feature maps of the reference backend: plain scalar loops, sums in double, so that it can judge the others.
#pragma once

#include <memory>

#include "kernels/ops.h"

namespace bifrons::ref {

// See the members of Ops with the same names.
std::unique_ptr<Conv2d> PackConv(ThreadPool& pool, const ConvShape& shape, TensorView weight, TensorView bias,
                                 DType compute);
void Convolve(ThreadPool& pool, const Conv2d& conv, TensorView in, TensorView residual, Tensor& out);
void GroupNorm(ThreadPool& pool, TensorView in, const float* gamma, const float* beta, int groups, float eps,
               bool silu, Tensor& out);
void Upsample2x(ThreadPool& pool, TensorView in, Tensor& out);

}  // namespace bifrons::ref
