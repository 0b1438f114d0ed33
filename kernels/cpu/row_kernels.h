// The SIMD bodies of the row ops: plain functions without threads, one set per instruction set. The queue and
// linear.cpp deal the work to the pool.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/quantize_row.h"
#include "src/base/blocks.h"
#include "src/base/dtype.h"

namespace bifrons::cpu {

/// Output rows of a matrix that are packed, and multiplied, together: see Linear's layout in linear.h.
constexpr int kStripe = 32;

/// Rows of one StripeProduct; more are cut into chunks. Large enough that re-reading the weights for the next
/// chunk costs nothing beside the arithmetic, small enough that a chunk's activations stay in the L2 cache.
constexpr int kMaxProductRows = 96;

/// How a stripe's weights meet the activations.
enum class ProductKind : uint8_t {
  kF32,      // [in][32] f32
  kF16,      // [in][32] f16, widened in registers
  kBF16,     // [in/2][32][2] bf16, widened in registers
  kBF16Dot,  // [in/2][32][2] bf16 times pairs of bf16 activations; kAvx512, kAmx only
  // In groups of 32 `in`: scales, then bytes [8][32][4] (128 above the weights), or of two such words of `in`
  // the halves of a byte [4][32][4], the first one's low. Activations in small integers (quantize_row.h).
  kQ8_0,  // scales f16 [32]
  kQ4_0,  // scales f16 [32]; 8 above the weights
  kQ4_K,  // scales u8 [32] and minima u8 [32]; before eight groups f16 [32], [32] that they count in
};

/// Of one group's or block's scales in a stripe, and of all that is packed of it.
constexpr int64_t kScaleBytes = 2 * kStripe;
constexpr int64_t kQ8_0GroupBytes = kScaleBytes + 32 * kStripe;
constexpr int64_t kQ4GroupBytes = kScaleBytes + 16 * kStripe;
constexpr int64_t kQ4_KGroups = 8;
constexpr int64_t kQ4_KBlockBytes = 2 * kScaleBytes + kQ4_KGroups * kQ4GroupBytes;

/// y[rows, columns] = x · stripe + bias, or y += …. Every output is a sum over `in` in ascending order in one
/// accumulator, whatever the number of rows.
struct StripeProduct {
  const void* weights;  // 64-byte aligned
  int64_t in;
  const void* x;      // pack_rows's result
  int64_t rows;       // 1…kMaxProductRows
  const float* bias;  // [columns], or null
  float* y;           // first column of the stripe in the first row
  int64_t y_stride;   // floats between rows
  int columns;        // 1…kStripe
  bool accumulate;
};

/// Queries of one AttentionTask; wider groups are cut.
constexpr int kMaxAttentionQueries = 16;

/// A task of attention: `queries` heads of one row, which share the head of keys and values.
struct AttentionTask {
  const float* q;               // [queries, head_dim]
  int64_t queries, head_dim;    // queries: 1…kMaxAttentionQueries
  const uint8_t* const* pages;  // position p stands in pages[p / page_positions]
  int64_t page_positions;
  size_t keys, values;  // where the head's [page_positions, head_dim] begin in a page
  int64_t positions;
  float scale;
  float* scores;  // scratch [queries, positions rounded up to 16]
  float* y;       // [queries, head_dim]
};

/// Rows of a of one RowKernels::multiply.
inline constexpr int64_t kMultiplyRows = 8;
/// Columns of b and c are padded to a multiple of this: at least the lanes of any vector.
inline constexpr int64_t kColumnAlign = 16;

struct RowKernels {
  /// Rearranges columns [begin, end) (both even, of blocks whole groups, or end = in) of x [rows, in] for
  /// product(kind): tiles of rows, inside a tile column-major, values rounded to bf16 on request. packed
  /// holds rows · (in rounded up to even) floats.
  void (*pack_rows)(ProductKind, bool round_to_bf16, const float* x, int64_t rows, int64_t in, int64_t begin,
                    int64_t end, void* packed);
  void (*product)(ProductKind, const StripeProduct&);

  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t dim, float* y);
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int64_t dim,
                     float* y);
  void (*silu_mul)(const float* gate, const float* up, int64_t n, float* y);
  void (*gelu)(float* x, int64_t n);
  /// One head: low and high halves of n elements each.
  void (*rotate)(float* low, float* high, const float* cos, const float* sin, int64_t n);
  void (*to_bf16)(const float* x, int64_t n, BF16* y);
  void (*attention_f32)(const AttentionTask&);
  void (*attention_bf16)(const AttentionTask&);
  void (*attention_q8_0)(const AttentionTask&);  // head_dim is whole blocks
  /// c[8, n] = a[8, k] · b[k, n], rows lda, ldb, ldc apart; n a multiple of kColumnAlign.
  void (*multiply)(const float* a, int64_t lda, const float* b, int64_t ldb, int64_t k, int64_t n, float* c,
                   int64_t ldc);
  /// row[n] = softmax(row), in place; overwrites what follows up to a multiple of kColumnAlign. The
  /// exponentials are rounded to bf16 on request, after they have been summed and before they are divided.
  void (*softmax)(float* row, int64_t n, bool round_to_bf16);

  /// scores[n] = e^(score − the largest), in place, and their sum; overwrites what follows like softmax.
  float (*exponentials)(float* scores, int64_t n);

  /// Multiply-accumulates done by a loop that never leaves the registers, `rounds` times: f32, and bf16 where
  /// native (else null). Returns their number.
  int64_t (*peak_f32)(int64_t rounds);
  int64_t (*peak_bf16)(int64_t rounds);
};

// Each compiled for its instruction set: see simd.cmake. Call through GetRowKernels.
extern const RowKernels kRowKernelsBaseline, kRowKernelsAvx2, kRowKernelsAvx512, kRowKernelsNeon,
    kRowKernelsDotprod;

const RowKernels& GetRowKernels(Isa);

}  // namespace bifrons::cpu
