// Standard Gumbel noise that is a function of (seed, position, token).
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/philox.h"
#include "kernels/sampling.h"

namespace bifrons {

/// Random bits of tokens 4·block … 4·block + 3.
inline std::array<uint32_t, 4> NoiseBits(const NoiseKey& key, uint32_t block) {
  return Philox({block, key.position, static_cast<uint32_t>(key.stream), 0},
                {static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32)});
}

/// −log(−log u) for the midpoint u of one of 2³² equal intervals of (0, 1), so that u is never 0 or 1.
inline double Gumbel(uint32_t bits) {
  return -std::log(-std::log((static_cast<double>(bits) + 0.5) * 0x1p-32));
}

/// A bound on Gumbel(bits) without logarithms, less than 0.7 above it where that is large: with v = 1 − u,
/// −log u > v ≥ 2^−(ones + 1) for so many leading ones. It exceeds the exact value by v/2 ≥ 2⁻³⁴ at least,
/// which is more than both are rounded by.
inline double GumbelBound(uint32_t bits) { return (std::countl_one(bits) + 1) * 0.69314718055994531; }

inline double GumbelNoise(const NoiseKey& key, uint32_t token) {
  return Gumbel(NoiseBits(key, token / 4)[token % 4]);
}

}  // namespace bifrons
