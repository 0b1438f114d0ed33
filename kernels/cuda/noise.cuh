// What kernels/gumbel.h and kernels/sample_row.cpp make of random bits and of logits, for the device: the
// same bits, but for the logarithms' last.
#pragma once

#include "kernels/cuda/numerics.cuh"

namespace bifrons::cuda {

/// Names the noise of one draw: NoiseKey of kernels/sampling.h.
struct DeviceNoise {
  uint64_t seed;
  uint32_t position, stream;
};

/// Random bits of tokens 4·block … 4·block + 3: Philox 4x32-10 (kernels/philox.h).
__device__ __forceinline__ uint4 NoiseBits(const DeviceNoise& noise, uint32_t block) {
  uint32_t c0 = block, c1 = noise.position, c2 = noise.stream, c3 = 0;
  uint32_t k0 = static_cast<uint32_t>(noise.seed), k1 = static_cast<uint32_t>(noise.seed >> 32);
  for (int round = 0; round < 10; round++) {
    const uint64_t a = uint64_t{0xD2511F53} * c0, b = uint64_t{0xCD9E8D57} * c2;
    c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0, c1 = static_cast<uint32_t>(b);
    c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1, c3 = static_cast<uint32_t>(a);
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return make_uint4(c0, c1, c2, c3);
}

/// −log(−log u) for the midpoint u of one of 2³² equal intervals of (0, 1).
__device__ __forceinline__ double Gumbel(uint32_t bits) {
  return -Log(-Log((static_cast<double>(bits) + 0.5) * 0x1p-32));
}

/// A bound on Gumbel(bits) without logarithms: with v = 1 − u ≥ 2^−e, −log u > v, so it is below e·ln 2. It
/// exceeds the exact value by v/2 ≥ 2⁻³⁴ at least, which is more than both are rounded by.
__device__ __forceinline__ double GumbelBound(uint32_t bits) {
  const double v = (static_cast<double>(~bits) + 0.5) * 0x1p-32;
  return static_cast<double>(1023 - static_cast<int>(BitsOf(v) >> 52)) * 0.69314718055994531;
}

/// e^(x − largest) in units of 2⁻⁴¹, rounded to an integer: `Weigh` of kernels/sample_row.cpp, which says how
/// far off it is. `largest` finite.
__device__ __forceinline__ uint64_t WeightOf(float x, float largest) {
  const double exact = static_cast<double>(x) - static_cast<double>(largest);
  if (!(exact > -30)) return 0;                              // e^-30 · 2⁴¹ = 0.21
  const double signed_shifter = 0x1.8p52, shifter = 0x1p52;  // leave an integer in a sum's lowest bits
  const double shifted = exact * 1.4426950408889634 + signed_shifter;
  const double whole = shifted - signed_shifter;
  const double r = (exact - whole * 0x1.62e42fefap-1) - whole * 0x1.cf79abc9e3b3ap-40;
  double e = 1.0 / 39916800;
  e = e * r + 1.0 / 3628800;
  e = e * r + 1.0 / 362880;
  e = e * r + 1.0 / 40320;
  e = e * r + 1.0 / 5040;
  e = e * r + 1.0 / 720;
  e = e * r + 1.0 / 120;
  e = e * r + 1.0 / 24;
  e = e * r + 1.0 / 6;
  e = e * r + 1.0 / 2;
  e = e * r + 1;
  e = e * r + 1;
  const double power = DoubleOf((BitsOf(shifted) << 52) + BitsOf(0x1p41));
  return BitsOf(e * power + shifter) - BitsOf(shifter);
}

}  // namespace bifrons::cuda
