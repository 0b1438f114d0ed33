// The row half of the ref backend: plain scalar loops, the oracle of every other backend.
// Declarations have the signatures and contracts of the members of Ops (kernels/ops.h).
#pragma once

#include "kernels/ops.h"

namespace bifrons::ref {

std::unique_ptr<Linear> PackLinear(ThreadPool&, std::span<const TensorView> parts, TensorView bias,
                                   DType compute);
void LinearRows(ThreadPool&, const Linear&, const float* x, int64_t rows, RowClass, bool accumulate,
                float* y);
void GatherRows(ThreadPool&, TensorView table, const int32_t* ids, int64_t rows, float* y);
void RmsNorm(ThreadPool&, const float* x, const float* weight, float eps, int64_t rows, int64_t dim,
             float* y);
void LayerNorm(ThreadPool&, const float* x, const float* weight, const float* bias, float eps, int64_t rows,
               int64_t dim, float* y);
void SiluMul(ThreadPool&, const float* gate_up, int64_t rows, int64_t dim, float* y);
void Gelu(ThreadPool&, float* x, int64_t n);
void GeluMlp(ThreadPool&, const Linear& fc1, const Linear& fc2, const float* x, int64_t rows, float* scratch,
             float* y);
void Rope(ThreadPool&, float* x, int64_t rows, int64_t stride, int64_t heads, int64_t head_dim,
          const int32_t* positions, const float* cos, const float* sin);
void KvStore(ThreadPool&, const float* k, const float* v, int64_t stride, std::span<const KvSpan>,
             const AttentionShape&);
void Attention(ThreadPool&, const float* q, int64_t q_stride, std::span<const KvSpan>, const AttentionShape&,
               float* y);
void FullAttentionRows(ThreadPool&, const FullAttention&, void* y);

}  // namespace bifrons::ref
