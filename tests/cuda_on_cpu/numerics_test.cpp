// The functions that CUDA kernels are made of, against the C library's in more digits, over inputs close
// together: every bit pattern of 16-bit types, every few hundredth of f32.
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/cuda/noise.cuh"
#include "kernels/gumbel.h"
#include "src/base/dtype.h"

namespace bifrons {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr double kLeastNormal = std::numeric_limits<float>::min();

// Calls check(x) for f32 x of both signs and all magnitudes below infinity.
template <class Check>
void ForManyFloats(const Check& check) {
  constexpr uint32_t kStep = 251;  // a prime: all patterns of low bits
  for (uint32_t bits = 0; bits < 0x7F800000u; bits += kStep) {
    const float x = std::bit_cast<float>(bits);
    check(x);
    check(-x);
  }
}

// The largest relative error of got(x) where wanted(x), exact, is a normal f32; elsewhere it must be as good
// as zero.
template <class Got, class Wanted>
double WorstError(float least, float most, const Got& got, const Wanted& wanted) {
  double worst = 0;
  ForManyFloats([&](float x) {
    if (x < least || x > most) return;
    const double exact = wanted(static_cast<double>(x)),
                 error = std::fabs(static_cast<double>(got(x)) - exact);
    if (std::fabs(exact) >= kLeastNormal) {
      worst = std::fmax(worst, error / std::fabs(exact));
    } else if (!(error < kLeastNormal)) {
      worst = kInfinity;
    }
  });
  return worst;
}

constexpr double kUlp = 0x1p-23;  // of a number just above a power of two

TEST_CASE("Exp stays within two units in the last place") {
  CHECK(WorstError(-87, 88, cuda::Exp, [](double x) { return std::exp(x); }) < 2 * kUlp);
  CHECK(cuda::Exp(0) == 1);
  CHECK(cuda::Exp(-kInfinity) == 0);
  CHECK(cuda::Exp(-1e30f) == 0);
  CHECK(std::isnan(cuda::Exp(NAN)));
}

TEST_CASE("Silu stays within four units in the last place") {
  CHECK(WorstError(-87, kInfinity, cuda::Silu, [](double x) { return x / (1 + std::exp(-x)); }) < 4 * kUlp);
  CHECK(std::fabs(cuda::Silu(-100)) < 1e-35f);
  CHECK(cuda::Silu(kInfinity) == kInfinity);
  CHECK(std::isnan(cuda::Silu(NAN)));
}

TEST_CASE("Gelu keeps its digits also where it is small") {
  const auto exact = [](double x) { return 0.5 * x * std::erfc(-x * std::sqrt(0.5)); };
  CHECK(WorstError(-kInfinity, kInfinity, cuda::Gelu, exact) < 7e-7);
  CHECK(cuda::Gelu(kInfinity) == kInfinity);
  CHECK(std::isnan(cuda::Gelu(NAN)));
}

TEST_CASE("Log stays within one unit in the last place") {
  double worst = 0;
  const auto check = [&](double x) {
    const long double exact = std::log(static_cast<long double>(x));
    const double unit = std::nextafter(std::fabs(static_cast<double>(exact)), kInfinity) -
                        std::fabs(static_cast<double>(exact));
    if (x == 1) {
      CHECK(cuda::Log(x) == 0);
    } else {
      worst = std::fmax(
          worst, static_cast<double>(std::fabs(static_cast<long double>(cuda::Log(x)) - exact)) / unit);
    }
  };
  uint64_t state = 1;
  for (int i = 0; i < 1'000'000; i++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    check((static_cast<double>(state >> 32) + 0.5) * 0x1p-32);          // what Gumbel's inner logarithm is of
    check(std::bit_cast<double>(0x3FE0000000000000u + (state >> 11)));  // ½ … 2
    check(1 +
          std::ldexp(static_cast<double>(static_cast<int64_t>(state)), -63 - static_cast<int>(state % 40)));
  }
  check(1);
  check(0x1p-33), check(1 - 0x1p-33), check(1e-300), check(1e300);
  CHECK(worst < 1);
}

TEST_CASE("16-bit numbers are widened and rounded as on the host") {
  int wrong = 0;
  const auto compare = [&](float got, float wanted) {
    wrong += std::bit_cast<uint32_t>(got) != std::bit_cast<uint32_t>(wanted);
  };
  for (uint32_t bits = 0; bits <= 0xFFFF; bits++) {
    const auto half = static_cast<uint16_t>(bits);
    compare(cuda::Widen(BF16{half}), ToFloat(BF16{half}));
    compare(cuda::Widen(F16{half}), ToFloat(F16{half}));
    compare(cuda::LowBf16(0xABCD0000u | bits), ToFloat(BF16{half}));
    compare(cuda::HighBf16(bits << 16 | 0xABCDu), ToFloat(BF16{half}));
  }
  const auto round = [&](float x) {
    wrong += cuda::Narrow<BF16>(x).bits != ToBF16(x).bits;
    wrong += cuda::PackBf16(x, 1) != (0x3F800000u | ToBF16(x).bits);
    compare(cuda::RoundTo<BF16>(x), ToFloat(ToBF16(x)));
  };
  ForManyFloats(round);
  for (uint32_t low = 0x7FF0; low < 0x8010; low++) round(std::bit_cast<float>(0x3F810000u + low));  // ties
  round(kInfinity), round(-kInfinity), round(std::numeric_limits<float>::max());
  for (const uint32_t nan : {0x7F800001u, 0x7FFFFFFFu, 0xFF800001u, 0x7FC00000u})
    round(std::bit_cast<float>(nan));
  CHECK(wrong == 0);
}

TEST_CASE("Noise is the host's but for its logarithms' last bits") {
  for (const uint64_t seed : {uint64_t{0}, uint64_t{1}, static_cast<uint64_t>(kMaxSeed)}) {
    for (const uint32_t position : {0u, 575u, 0xFFFFFFFFu}) {
      for (const uint32_t block : {0u, 1u, 4095u, 0xFFFFFFFFu}) {
        const auto wanted = NoiseBits({seed, position, NoiseStream::kText}, block);
        const uint4 got = cuda::NoiseBits({seed, position, static_cast<uint32_t>(NoiseStream::kText)}, block);
        CHECK((got.x == wanted[0] && got.y == wanted[1] && got.z == wanted[2] && got.w == wanted[3]));
      }
    }
  }
  double worst = 0;
  int wrong_bounds = 0;
  const auto check = [&](uint32_t bits) {
    worst = std::fmax(worst, std::fabs(cuda::Gumbel(bits) - Gumbel(bits)));
    wrong_bounds +=
        cuda::GumbelBound(bits) != GumbelBound(bits) || !(cuda::Gumbel(bits) < cuda::GumbelBound(bits));
  };
  for (uint64_t bits = 0; bits <= 0xFFFFFFFFu; bits += 4093) check(static_cast<uint32_t>(bits));
  for (int shift = 0; shift < 32; shift++) check(0xFFFFFFFFu >> shift), check(~(0xFFFFFFFFu >> shift));
  CHECK(worst < 1e-14);  // the noise is below 23
  CHECK(wrong_bounds == 0);
}

TEST_CASE("Weights of tokens are rounded powers") {
  double worst = 0;
  for (int i = 0; i <= 4'000'000; i++) {
    const float x = static_cast<float>(-i) * 1e-5f + 3;
    const double exact = std::exp(static_cast<double>(x) - 3) * 0x1p41;
    worst = std::fmax(worst, std::fabs(static_cast<double>(cuda::WeightOf(x, 3)) - exact));
  }
  CHECK(worst < 0.5 + 0x1p-6);  // half a unit, and 2⁻⁴⁷ of the number
  CHECK(cuda::WeightOf(3, 3) == uint64_t{1} << 41);
  CHECK(cuda::WeightOf(-kInfinity, 3) == 0);
}

}  // namespace
}  // namespace bifrons
