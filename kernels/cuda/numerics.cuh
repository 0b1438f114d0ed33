// Numbers' types and elementary functions in + − × ÷, fmaf and integer operations only, none of which a
// compiler may reorder or contract here: a kernel gives the same bits on every GPU, and on a processor.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/cuda/portable.cuh"
#include "src/base/dtype.h"

namespace bifrons::cuda {

// ---- types ------------------------------------------------------------------------------------------------

__device__ __forceinline__ uint64_t BitsOf(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof(bits));
  return bits;
}
__device__ __forceinline__ double DoubleOf(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof(x));
  return x;
}

/// Of two bf16 in a word, the one at the lower address, and the one at the higher.
__device__ __forceinline__ float LowBf16(uint32_t pair) { return FloatOf(pair << 16); }
__device__ __forceinline__ float HighBf16(uint32_t pair) { return FloatOf(pair & 0xFFFF0000u); }

/// The f32 that equals x.
__device__ __forceinline__ float Widen(float x) { return x; }
__device__ __forceinline__ float Widen(BF16 x) { return FloatOf(static_cast<uint32_t>(x.bits) << 16); }
// An f16's exponent counts from 2⁻¹⁵, an f32's from 2⁻¹²⁷: scaling by 2¹¹² repairs it, subnormals too.
__device__ __forceinline__ float Widen(F16 x) {
  const uint32_t bits = x.bits;
  const uint32_t magnitude = BitsOf(FloatOf((bits & 0x7FFFu) << 13) * 0x1p112f);
  const uint32_t special = (bits & 0x7C00u) == 0x7C00u ? 0x7F800000u : 0u;
  return FloatOf(magnitude | special | (bits & 0x8000u) << 16);
}

/// x as a T, f32, bf16 or f16: to nearest, ties to even; NaN stays NaN (ToBF16, ToF16 of src/base/dtype.h).
template <class T>
__device__ __forceinline__ T Narrow(float x);
template <>
__device__ __forceinline__ float Narrow<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ BF16 Narrow<BF16>(float x) {
  const uint32_t bits = BitsOf(x);
  const bool is_nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
  const uint32_t rounded = is_nan ? bits | 0x400000u : bits + 0x7FFFu + ((bits >> 16) & 1u);
  return {static_cast<uint16_t>(rounded >> 16)};
}
template <>
__device__ __forceinline__ F16 Narrow<F16>(float x) {
  const uint32_t bits = BitsOf(x), magnitude = bits & 0x7FFFFFFFu;
  // Beside ½ the last place of an f32 is that of a subnormal half.
  const uint32_t subnormal = BitsOf(FloatOf(magnitude) + 0.5f) - 0x3F000000u;
  const uint32_t normal = (magnitude + 0xFFFu + (magnitude >> 13 & 1u) - 0x38000000u) >> 13;
  const uint32_t half = magnitude > 0x7F800000u    ? 0x7E00u
                        : magnitude >= 0x47800000u ? 0x7C00u
                        : magnitude < 0x38800000u  ? subnormal
                                                   : normal;
  return {static_cast<uint16_t>((bits >> 16 & 0x8000u) | half)};
}

/// x rounded to what a T holds, f32 or bf16: an operand of products that compute in T.
template <class T>
__device__ __forceinline__ float RoundTo(float x) {
  return Widen(Narrow<T>(x));
}

/// Two numbers rounded to bf16, as LowBf16 and HighBf16 find them.
__device__ __forceinline__ uint32_t PackBf16(float low, float high) {
  return static_cast<uint32_t>(Narrow<BF16>(low).bits) | static_cast<uint32_t>(Narrow<BF16>(high).bits) << 16;
}

// ---- functions --------------------------------------------------------------------------------------------

/// e^x within 2 ulp where the result is a normal f32, 0 below; x at most 88; NaN stays NaN.
__device__ __forceinline__ float Exp(float x) {
  // e^x = 2^n · e^r with |r| ≤ ln2/2 and e^r = 1 + r + r²·q(r), q fitted for least relative error (3e-9).
  const float clamped = x < -87.0f ? -87.0f : x;
  const float shifter = 12582912.0f;  // 1.5·2²³: adding it rounds to an integer
  const float n_shifted = fmaf(clamped, 1.44269504f, shifter);
  const float n = n_shifted - shifter;
  float r = fmaf(n, -0.693359375f, clamped);  // ln 2 in two parts, the first exact times n
  r = fmaf(n, 2.12194440e-4f, r);
  float q = fmaf(0.001381459878757596f, r, 0.008368716575205326f);
  q = fmaf(q, r, 0.04166838899254799f);
  q = fmaf(q, r, 0.1666652113199234f);
  q = fmaf(q, r, 0.4999999403953552f);
  const float e = fmaf(q * r, r, r) + 1.0f;
  const float power = FloatOf((BitsOf(n_shifted) << 23) + (127u << 23));  // n is the mantissa's low bits
  return x < -87.0f ? 0.0f : e * power;
}

/// x / (1 + e^-x), within 4 ulp above −87, and as good as 0 below.
__device__ __forceinline__ float Silu(float x) {
  // Of e^-|x| the denominator is in [1, 2]. There a parabola and two steps of Newton's take the place of
  // division, whose rare cases are a branch that would keep neighbouring results apart.
  const float power = Exp(-fabsf(x)), denominator = 1.0f + power;
  float inverse = fmaf(fmaf(0.32323232f, denominator, -1.45454545f), denominator, 2.12121212f);
#pragma unroll
  for (int i = 0; i < 2; i++) inverse = fmaf(inverse, fmaf(-denominator, inverse, 1.0f), inverse);
  return (x < 0.0f ? x * power : x) * inverse;
}

/// x/2 · erfc(−x/√2), the exact GELU, relative error below 7e-7 while it is a normal f32.
__device__ __forceinline__ float Gelu(float x) {
  // erfc(|x|/√2) = e^(−x²/2) · t·p(t), t = 1/(1 + 0.44·|x|/√2), with p fitted to erfc's scaled form. Not
  // 1 + erf: where x is far below zero nothing would be left of that sum. Beyond 14 e^(−x²/2) is zero, and
  // the bound keeps the square finite; x itself makes NaN of NaN.
  const float magnitude = fminf(fabsf(x), 14.0f);
  const float t = 1.0f / fmaf(0.31112698f, magnitude, 1.0f);
  float p = fmaf(0.07149778782891586f, t, -0.27914540774081503f);
  p = fmaf(p, t, 0.2988560004056302f);
  p = fmaf(p, t, -0.02228526971109059f);
  p = fmaf(p, t, 0.21698944712820697f);
  p = fmaf(p, t, 0.21693577371311487f);
  p = fmaf(p, t, 0.2489352739506736f);
  p = fmaf(p, t, 0.24821653946111713f);
  // What the square's rounding loses would be multiplied by the exponential: −x²/2 has two parts.
  const float square = magnitude * magnitude;
  const float lost = fmaf(magnitude, magnitude, -square);
  const float e = Exp(-0.5f * square);
  const float tail = fmaf(-0.5f * lost, e, e) * p * t;
  return 0.5f * x * (x > 0.0f ? 2.0f - tail : tail);
}

/// ln x of a normal x > 0 within 1 ulp, also next to 1. FreeBSD's e_log.c (Sun Microsystems, 1993).
__device__ __forceinline__ double Log(double x) {
  // x = 2^k · (1 + f), √½ < 1 + f ≤ √2; ln(1 + f) = f − f²/2 + s·(f²/2 + R(s²)), s = f/(2 + f).
  const uint64_t shifted = BitsOf(x) + (0x3FF0000000000000u - 0x3FE6A09E00000000u);
  const double k = static_cast<double>(static_cast<int>(shifted >> 52) - 1023);
  const double f = DoubleOf((shifted & 0x000FFFFFFFFFFFFFu) + 0x3FE6A09E00000000u) - 1.0;
  const double s = f / (2.0 + f), z = s * s, w = z * z, half = 0.5 * f * f;
  const double even =
      w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
  const double odd =
      z * (6.666666666666735130e-01 +
           w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
  // ln 2 in two parts, the first exact times k.
  return s * (half + (odd + even)) + k * 1.90821492927058770002e-10 - half + f +
         k * 6.93147180369123816490e-01;
}

}  // namespace bifrons::cuda
