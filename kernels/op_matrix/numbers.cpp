#include "kernels/op_matrix/numbers.h"

#include <cstdio>
#include <cstring>

namespace bifrons::op_matrix {

void SetElement(void* data, DType type, int64_t i, float x) {
  switch (type) {
    case DType::kF32:
      static_cast<float*>(data)[i] = x;
      return;
    case DType::kBF16:
      static_cast<BF16*>(data)[i] = ToBF16(x);
      return;
    case DType::kF16:
      static_cast<F16*>(data)[i] = ToF16(x);
      return;
    case DType::kI32:
      static_cast<int32_t*>(data)[i] = static_cast<int32_t>(x);
      return;
    case DType::kU8:
      static_cast<uint8_t*>(data)[i] = static_cast<uint8_t>(x);
      return;
    default:
      BIFRONS_CHECK(false, "%s has no single elements", NameOf(type));
  }
}

double NumberAt(const TensorView& view, int64_t i) {
  if (view.dtype == DType::kI32) return view.as<int32_t>()[i];
  if (view.dtype == DType::kU8) return view.as<uint8_t>()[i];
  return ElementAt(view, i);
}

void Numbers::Surround() { std::memset(block_.data(), 0xFF, block_.bytes()); }  // NaN in every float type

Numbers Normals(DType type, Shape shape, uint64_t seed, float scale, float shift) {
  Random random(seed);
  return {type, shape, [&](int64_t) { return shift + scale * random.Normal(); }};
}

Numbers Weights(DType type, Shape shape, uint64_t seed) {
  Random random(seed);
  return {type, shape, [&](int64_t) {
            const float magnitude = random.Uniform(0.01f, 1);
            return random.Next() % 2 ? magnitude : -magnitude;
          }};
}

Numbers Zeros(DType type, Shape shape) {
  return {type, shape, [](int64_t) { return 0; }};
}

std::string ToText(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", x);
  return text;
}

double Share(double got, double wanted, double allowed, DType type) {
  if (std::isnan(wanted)) return std::isnan(got) ? 0 : kWrong;
  if (got == wanted) return 0;
  if (type == DType::kBF16) allowed += 1.01 * kBF16Epsilon * (std::fabs(wanted) + allowed);
  const double share = std::fabs(got - wanted) / (allowed + 1e-44);
  return std::isnan(share) ? kWrong : share;
}

double SameBytes(const TensorView& a, const TensorView& b) {
  return a.bytes() == b.bytes() && std::memcmp(a.data, b.data, a.bytes()) == 0 ? 0 : kWrong;
}

}  // namespace bifrons::op_matrix
