// The inner loops of the feature-map ops, one table per instruction set. They take plain pointers only: a
// file compiled for a newer instruction set must not instantiate anything inline from elsewhere, because the
// linker may keep that copy for everybody.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "src/base/dtype.h"

namespace bifrons::cpu {

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

// Each compiled for its instruction set: see simd.cmake. Call through GetMapKernels.
extern const MapKernels kMapKernelsBaseline, kMapKernelsAvx2, kMapKernelsAvx512, kMapKernelsNeon,
    kMapKernelsDotprod;

const MapKernels& GetMapKernels(Isa);

}  // namespace bifrons::cpu
