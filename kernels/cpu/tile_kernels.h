// Products of bf16 matrices on AMX tiles: plain functions without threads, for tiles.cpp and attention.cpp to
// deal out.
//
// A product takes 32 rows of the left operand, a panel, and 32 columns of the right one, a stripe:
//   panel   bf16 [in/32][32 rows][32], rows and `in` filled up with zeros
//   stripe  bf16 [in/2][32 columns][2], as PackedLinear has it
// An output's only accumulator visits `in` in ascending order, so blocking never shows in the bits.
#pragma once

#include <cstdint>

#include "src/base/dtype.h"

namespace bifrons::cpu {

inline constexpr int64_t kPanel = 32;                     // rows, and `in` of one step
inline constexpr int64_t kPanelStep = kPanel * kPanel;    // elements of a panel's step
inline constexpr int64_t kTileProduct = kPanel * kPanel;  // floats of a product

/// What becomes of a product c [32, 32] of which `rows` and `columns` count.
struct TileOutput {
  int64_t rows, columns;
  const float* bias;  // [columns], or null
  float* y;           // rows y_stride floats apart
  int64_t y_stride;
  bool accumulate;
};

struct TileKernels {
  /// The calling thread's tiles are set up for the others; release them before somebody else's code runs.
  void (*configure)();
  void (*release)();
  /// x [rows ≤ 32, in], rows `stride` floats apart, rounded to bf16.
  void (*pack_panel)(const float* x, int64_t rows, int64_t stride, int64_t in, BF16* panel);
  /// The same values as a right operand: a stripe whose columns are the rows of x.
  void (*pack_stripe)(const float* x, int64_t rows, int64_t stride, int64_t in, BF16* out);
  /// x [rows, columns ≤ 32] as a stripe: rows are its `in`, filled up to `padded` (even) with zeros.
  void (*pack_columns)(const float* x, int64_t rows, int64_t padded, int64_t stride, int64_t columns,
                       BF16* out);
  /// c [32, 32] = panel · stripe over `steps` of 32, or c += …; when `rows` ≤ 16, its upper half only.
  /// Meanwhile fetches `ahead` bytes per step (a multiple of 64) from `next` on into the L2 cache; they need
  /// not be readable.
  void (*multiply)(const BF16* panel, int64_t rows, const BF16* stripe, int64_t steps, bool accumulate,
                   float* c, const void* next, int64_t ahead);
  void (*finish)(const float* c, const TileOutput&);
  /// gelu(c + bias), rounded, as a step of the next product's panel; bias [32] or null.
  void (*finish_gelu)(const float* c, const float* bias, BF16* step);
  /// scores f32 [n/32][32, 32]: for each of `rows` rows e^((s − max)·scale) over its n scores, rounded, as a
  /// panel; inverse[row] = 1 / their sum before rounding.
  void (*softmax)(const float* scores, int64_t rows, int64_t n, float scale, BF16* panel, float* inverse);
  /// Multiply-accumulates of `rounds` rounds on tiles that are never loaded or stored.
  int64_t (*peak)(int64_t rounds);
};

extern const TileKernels kTileKernelsAmx;

/// For its lifetime the calling thread's tiles are set up.
struct SetUpTiles {
  SetUpTiles() { kTileKernelsAmx.configure(); }
  ~SetUpTiles() { kTileKernelsAmx.release(); }
  SetUpTiles(const SetUpTiles&) = delete;
};

}  // namespace bifrons::cpu
