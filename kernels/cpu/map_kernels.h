// The inner loops of the feature-map ops, one table per instruction set. They take plain pointers only: a
// file compiled for a newer instruction set must not instantiate anything inline from elsewhere, because the
// linker may keep that copy for everybody.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "src/base/dtype.h"

namespace bifrons::cpu {

/// Rows of a of one `multiply` call.
inline constexpr int64_t kMultiplyRows = 8;
/// Columns of b and c are padded to a multiple of this: at least the lanes of any vector.
inline constexpr int64_t kColumnAlign = 16;

/// Tiles of 4×4 outputs that share one reading of Winograd weights.
inline constexpr int64_t kWinogradTiles = 24;
/// Neighbouring output channels of the packed weights; in_channels and out_channels are multiples of it.
inline constexpr int64_t kWinogradPanel = 64;

struct WinogradShape {
  int64_t height, width, in_channels, out_channels;
};

struct MapKernels {
  /// sums[c] = Σ_p in[p, c]; in f32 or bf16 [pixels, channels].
  void (*column_sums)(const void* in, DType, int64_t pixels, int64_t channels, float* sums);
  /// sums[c] = Σ_p (in[p, c] − centre[c])².
  void (*column_squares)(const void* in, DType, int64_t pixels, int64_t channels, const float* centre,
                         float* sums);
  /// out = in · scale[c] + shift[c], then x / (1 + exp(−x)) when `silu`. out has in's type and may be in.
  void (*scale_shift)(const void* in, DType, int64_t pixels, int64_t channels, const float* scale,
                      const float* shift, bool silu, void* out);
  /// c[8, n] = a[8, k] · b[k, n], rows lda, ldb, ldc apart; n a multiple of kColumnAlign.
  void (*multiply)(const float* a, int64_t lda, const float* b, int64_t ldb, int64_t k, int64_t n, float* c,
                   int64_t ldc);
  /// row[n] = softmax(row), in place; overwrites what follows up to a multiple of kColumnAlign. The
  /// exponentials are rounded to bf16 on request, after they have been summed and before they are divided.
  void (*softmax)(float* row, int64_t n, bool round_to_bf16);
  /// out[p, 0…2] = bias + Σ_taps rows[tap's row][p + tap's column − reach, :] · weight[tap, 0…2, :] for the
  /// `width` pixels of one line; taps = kernel², reach = kernel/2. A null row and pixels outside [0, width)
  /// are zeros. rows: `kernel` lines of the input map; weight f32 [taps, 3, channels].
  void (*conv_to_3)(const void* const* rows, DType, int64_t width, int64_t channels, int kernel,
                    const float* weight, const float* bias, float* out);
  void (*widen)(const BF16* in, int64_t n, float* out);
  /// out = bf16(in + residual), or bf16(in) when residual is null. out may be residual.
  void (*add_and_round)(const float* in, const BF16* residual, int64_t n, BF16* out);
  /// A 3×3 convolution with f32 arithmetic, + bias, + residual unless null, for `tiles` ≤ kWinogradTiles
  /// tiles from number `first` on, counted row by row. Maps of type DType; weight as in winograd-inl.h;
  /// scratch f32 [36, kWinogradTiles + 1, in_channels + out_channels]. residual may be out.
  void (*winograd)(const void* in, DType, const WinogradShape&, const float* weight, const float* bias,
                   const void* residual, int64_t first, int64_t tiles, float* scratch, void* out);
};

// Defined in maps_*.cpp, each compiled for its instruction set; kMapKernelsBaseline is NEON's as well.
extern const MapKernels kMapKernelsBaseline, kMapKernelsAvx2, kMapKernelsAvx512;

const MapKernels& GetMapKernels(Isa);

}  // namespace bifrons::cpu
