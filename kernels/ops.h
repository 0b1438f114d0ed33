// The Ops table: everything the models ask of a backend. The forward passes (src/model, vision) are written
// once against it; a backend fills every member, so a missing op is a compile or link error.
//
// Conventions
//   * Row activations are f32, row-major, 64-byte aligned at the first row. `compute` (in the packed weights
//     and caches) is the arithmetic: with bf16 the activations are rounded to bf16 where they enter a
//     product, and sums are f32.
//   * Feature maps are [height, width, channels] (channels innermost), f32 or bf16: TensorView of rank 3.
//   * Outputs may alias inputs only where a comment says so.
//   * A row never feels its neighbours: an output row depends on its own inputs and the RowClass only, never
//     on how many rows share the call or on the thread count.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "src/base/dtype.h"
#include "src/base/tensor.h"
#include "src/base/thread_pool.h"

namespace bifrons {

/// What a row is part of. Kernels are chosen by class, never by row count, so that a picture drawn alone and
/// in a batch takes the same path.
enum class RowClass : uint8_t {
  kDecode,   // sampled tokens: guidance pairs, speculation windows, captions
  kPrefill,  // a prompt's chunk or an image's patches: the shape depends on the request alone
};

/// A matrix [out, in] with optional bias [out], packed by a backend. Stored values are kept (bf16 stays
/// bf16).
struct Linear {
  virtual ~Linear() = default;
  int64_t out = 0, in = 0;
  DType stored = DType::kF32;   // type of the weights in memory
  DType compute = DType::kF32;  // f32, or bf16: activations rounded to bf16
  size_t bytes = 0;             // memory held; also what one pass over it reads
};

struct ConvShape {
  int64_t in_channels = 0, out_channels = 0;
  int64_t height = 0, width = 0;  // of the input
  int kernel = 1;                 // 1 or 3
  int stride =
      1;  // 1: zero padding kernel/2. 2, with kernel 3: zeros right and below only, the output halves

  /// Of the output; half of an odd size is rounded down.
  int64_t out_height() const { return height / stride; }
  int64_t out_width() const { return width / stride; }
  /// Rows and columns of zeros above and to the left of the input.
  int padding() const { return stride == 1 ? kernel / 2 : 0; }
  int64_t macs() const { return out_height() * out_width() * in_channels * out_channels * kernel * kernel; }
};

/// A convolution's weights, packed by a backend for one input size.
struct Conv2d {
  virtual ~Conv2d() = default;
  ConvShape shape;
  DType compute = DType::kF32;  // type of its input and output maps as well
  size_t bytes = 0;
};

/// One sequence's cache of one layer, in pages: position p stands in pages[p / page_positions], wherever in
/// memory that is. A page holds keys and values [kv_heads, page_positions, head_dim], f32 or bf16, from the
/// bytes `keys` and `values` on; what else is in it does not matter.
struct KvLayer {
  std::span<uint8_t* const> pages;
  int64_t page_positions = 0;
  size_t keys = 0, values = 0;
  DType dtype = DType::kF32;

  int64_t capacity() const { return static_cast<int64_t>(pages.size()) * page_positions; }
  /// The head_dim keys or values of a head at a position.
  void* KeysAt(int64_t head, int64_t position, int64_t head_dim) const {
    return At(keys, head, position, head_dim);
  }
  void* ValuesAt(int64_t head, int64_t position, int64_t head_dim) const {
    return At(values, head, position, head_dim);
  }

 private:
  void* At(size_t begin, int64_t head, int64_t position, int64_t head_dim) const {
    const int64_t row = head * page_positions + position % page_positions;
    return pages[static_cast<size_t>(position / page_positions)] + begin +
           static_cast<size_t>(row * head_dim) * SizeOf(dtype);
  }
};

/// `rows` consecutive rows of a ragged batch that belong to one sequence, at positions start, start+1, …
struct KvSpan {
  int64_t row = 0, rows = 0;
  int64_t start = 0;
  KvLayer kv;
};

/// Widths of grouped-query attention; heads is a multiple of kv_heads.
struct AttentionShape {
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
};

/// Attention of n positions to each other: q, k, v are rows of heads·head_dim values of one type (f32 or
/// bf16), the rows `stride` values apart, so that they can be parts of one matrix.
struct FullAttention {
  const void *q = nullptr, *k = nullptr, *v = nullptr;
  DType type = DType::kF32;
  int64_t stride = 0;
  int64_t n = 0, heads = 0, head_dim = 0;
  DType compute =
      DType::kF32;  // bf16: q, k, v and the softmax's weights are rounded to bf16 for the products
};

struct Ops {
  const char* backend;  // "cpu", "ref"
  const char* isa;      // "baseline", "avx2", "avx512", "amx", "neon"; "scalar" for ref

  // ---- weights -------------------------------------------------------------------------------------------
  /// Packs `parts` ([out_i, in], one dtype of f32/bf16/f16 each, stacked along out) and an optional bias
  /// (f32/bf16/f16 [out], or an empty view). The views may go away afterwards.
  std::unique_ptr<Linear> (*pack_linear)(ThreadPool&, std::span<const TensorView> parts, TensorView bias,
                                         DType compute);
  /// weight [out_channels, in_channels, kernel, kernel], bias [out_channels] or empty.
  std::unique_ptr<Conv2d> (*pack_conv)(ThreadPool&, const ConvShape&, TensorView weight, TensorView bias,
                                       DType compute);

  // ---- rows ----------------------------------------------------------------------------------------------
  /// y[rows, out] = x[rows, in] · Wᵀ + bias, or y += … when `accumulate` (the residual stream).
  void (*linear)(ThreadPool&, const Linear&, const float* x, int64_t rows, RowClass, bool accumulate,
                 float* y);
  /// y[i, :] = table[ids[i], :] widened to f32; table [n, dim].
  void (*gather_rows)(ThreadPool&, TensorView table, const int32_t* ids, int64_t rows, float* y);
  /// y = x / sqrt(mean(x²) + eps) · weight; x, y [rows, dim], weight f32 [dim]. y may be x.
  void (*rms_norm)(ThreadPool&, const float* x, const float* weight, float eps, int64_t rows, int64_t dim,
                   float* y);
  /// y = (x − mean) / sqrt(variance + eps) · weight + bias over each row; x, y [rows, dim], weight, bias f32
  /// [dim]. y may be x.
  void (*layer_norm)(ThreadPool&, const float* x, const float* weight, const float* bias, float eps,
                     int64_t rows, int64_t dim, float* y);
  /// y[rows, dim] = silu(gate) · up, with gate_up [rows, 2·dim]: gate first, then up.
  void (*silu_mul)(ThreadPool&, const float* gate_up, int64_t rows, int64_t dim, float* y);
  /// x[n] = gelu(x), the exact erf form, in place.
  void (*gelu)(ThreadPool&, float* x, int64_t n);
  /// y[rows, fc2.out] += fc2(gelu(fc1(x))) with linear's and gelu's bits for RowClass::kPrefill; scratch
  /// [rows, fc1.out]. One op, because the inner rows need never be written out in f32.
  void (*gelu_mlp)(ThreadPool&, const Linear& fc1, const Linear& fc2, const float* x, int64_t rows,
                   float* scratch, float* y);
  /// Rotates the first `heads` heads of every row of x [rows, stride] in place (rotate-half convention:
  /// element i pairs with i + head_dim/2). cos, sin: f32 [positions, head_dim/2]; row r uses position
  /// positions[r].
  void (*rope)(ThreadPool&, float* x, int64_t rows, int64_t stride, int64_t heads, int64_t head_dim,
               const int32_t* positions, const float* cos, const float* sin);
  /// Writes keys and values of every span's rows into its cache (rounded to the cache's type). k, v point at
  /// the first row's kv_heads·head_dim values, rows are `stride` floats apart.
  void (*kv_store)(ThreadPool&, const float* k, const float* v, int64_t stride, std::span<const KvSpan>,
                   const AttentionShape&);
  /// Causal attention over the caches, scale head_dim^-0.5, softmax in f32; the row at position p sees 0…p.
  /// q [rows, q_stride] (heads·head_dim used), y [rows, heads·head_dim].
  void (*attention)(ThreadPool&, const float* q, int64_t q_stride, std::span<const KvSpan>,
                    const AttentionShape&, float* y);
  /// y[n, heads·head_dim], of the inputs' type = attention of every position to all n (not causal), scale
  /// head_dim^-0.5, softmax in f32. Rows of one request only, like RowClass::kPrefill.
  void (*full_attention)(ThreadPool&, const FullAttention&, void* y);

  // ---- feature maps --------------------------------------------------------------------------------------
  /// out = conv(in) (+ residual, when not empty, of out's shape; it may be out's memory). Types equal
  /// conv.compute, except that with 3 out_channels and stride 1 (the picture itself) `out` is f32 and there
  /// is no residual.
  void (*conv2d)(ThreadPool&, const Conv2d&, TensorView in, TensorView residual, Tensor& out);
  /// Group normalisation over (height, width, channels/groups), then swish when `silu`. gamma, beta f32
  /// [channels]. Statistics and arithmetic in f32. `out` has in's shape and type and may be in's memory.
  void (*group_norm)(ThreadPool&, TensorView in, const float* gamma, const float* beta, int groups, float eps,
                     bool silu, Tensor& out);
  /// out [2h, 2w, c] = nearest-neighbour doubling of in [h, w, c].
  void (*upsample2x)(ThreadPool&, TensorView in, Tensor& out);
};

}  // namespace bifrons
