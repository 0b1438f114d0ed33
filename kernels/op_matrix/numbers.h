// Numbers for the op matrix: made on the host, always the same, and compared there.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "src/base/tensor.h"

namespace bifrons::op_matrix {

/// Half an ulp of 1: the largest relative error of one rounding.
constexpr double kEpsilon = 0x1p-24, kBF16Epsilon = 0x1p-8;

/// Of all norms.
constexpr float kEps = 1e-6f;

constexpr double kWrong = std::numeric_limits<double>::infinity();

/// Splitmix64: small, and the same everywhere, which the standard library's distributions are not.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u) {}
  uint64_t Next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  int64_t Below(int64_t n) { return static_cast<int64_t>(Next() % static_cast<uint64_t>(n)); }
  /// In [low, high).
  float Uniform(float low, float high) {
    return low + (high - low) * static_cast<float>(Next() >> 40) * 0x1p-24f;
  }
  /// Of variance 1 and nearly normal (the sum of twelve uniform numbers); always within ±6.
  float Normal() {
    uint64_t sum = 0;
    for (int i = 0; i < 3; i++) {
      const uint64_t bits = Next();
      sum += (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48);
    }
    return static_cast<float>(sum) * 0x1p-16f - 6;
  }

 private:
  uint64_t state_;
};

/// Sets one element, rounded to its type.
void SetElement(void* data, DType type, int64_t i, float x);

/// One element of any type, widened.
double NumberAt(const TensorView& view, int64_t i);

/// A tensor between NaN: who reads beyond it shows that in the result.
class Numbers {
 public:
  /// value(i) for every element i.
  template <class F>
  requires std::is_invocable_v<F, int64_t> Numbers(DType type, Shape shape, const F& value)
      : shape_(shape), block_(type, {shape.elements() + 2 * kGuard}) {
    Surround();
    for (int64_t i = 0; i < shape.elements(); i++)
      SetElement(block_.data(), type, kGuard + i, static_cast<float>(value(i)));
  }

  TensorView view() const {
    const auto* bytes = static_cast<const uint8_t*>(block_.data());
    return {bytes + BytesOf(block_.dtype(), kGuard), block_.dtype(), shape_};
  }
  DType type() const { return block_.dtype(); }
  const Shape& shape() const { return shape_; }
  double operator[](int64_t i) const { return NumberAt(view(), i); }
  Numbers Absolute() const {
    return {type(), shape_, [this](int64_t i) { return std::fabs((*this)[i]); }};
  }

 private:
  static constexpr int64_t kGuard = 64;
  void Surround();

  Shape shape_;
  Tensor block_;
};

/// shift + scale · Normal().
Numbers Normals(DType type, Shape shape, uint64_t seed, float scale = 1, float shift = 0);

/// Of magnitude 0.01 … 1 and either sign: every type holds them as normal numbers.
Numbers Weights(DType type, Shape shape, uint64_t seed);

Numbers Zeros(DType type, Shape shape);

/// "1e-06", "3"
std::string ToText(double x);

/// The share of `allowed` that |got − wanted| takes; NaN where none is wanted is infinite. A result in bf16
/// is also rounded, from a number that may itself be `allowed` away.
double Share(double got, double wanted, double allowed, DType type = DType::kF32);

/// 0 when the bytes are the same, else infinite.
double SameBytes(const TensorView& a, const TensorView& b);

/// Worst cases forgive much where sums are long: roundings are as often up as down, so that over many results
/// the errors of n of them grow with √n.
class Average {
 public:
  void Add(double error, double allowed) { errors_ += error * error, allowed_ += allowed * allowed; }
  /// The share that the errors' mean square takes of what is allowed on average to n roundings each.
  double Share(double n) const { return errors_ == 0 ? 0 : std::sqrt(errors_ * n / allowed_); }

 private:
  double errors_ = 0, allowed_ = 0;
};

/// The larger, where NaN is larger than everything.
inline double Worse(double a, double b) { return a >= b ? a : std::isnan(b) ? kWrong : b; }

}  // namespace bifrons::op_matrix
