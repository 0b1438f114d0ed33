#include "kernels/op_matrix/products.h"

#include <algorithm>

namespace bifrons::op_matrix {

Stack Stack::Absolute() const {
  Stack stack;
  for (const Numbers& part : parts) stack.parts.push_back(part.Absolute());
  for (const Numbers& b : bias) stack.bias.push_back(b.Absolute());
  return stack;
}

std::unique_ptr<Linear> Stack::Pack(Device& device, DType compute) const {
  std::vector<TensorView> views;
  for (const Numbers& part : parts) views.push_back(part.view());
  return device.PackLinear(views, bias.empty() ? TensorView{} : bias[0].view(), compute);
}

Stack MakeStack(std::span<const DType> types, int64_t out, int64_t in, bool with_bias, uint64_t seed) {
  Stack stack;
  int64_t left = out;
  for (size_t i = 0; i < types.size() && left > 0; i++) {
    const bool last = i + 1 == types.size();
    const int64_t rows = last ? left : std::clamp<int64_t>(out / 3, 1, left);
    stack.parts.push_back(Weights(types[i], {rows, in}, seed + i));
    left -= rows;
  }
  if (with_bias) stack.bias.push_back(Weights(types[0], {out}, seed + 7));
  return stack;
}

Tensor Product(Device& reference, const Stack& stack, DType compute, const TensorView& x) {
  Stage stage(reference);
  const Linear& linear = stage.Keep(stack.Pack(reference, compute));
  const View in = stage.In(x), out = stage.Out(DType::kF32, {x.shape[0], linear.out});
  stage.op = [&](Queue& queue) { queue.Multiply(linear, in, RowClass::kPrefill, Epilogue::kNone, out); };
  return std::move(stage.Run().results[0]);
}

Bounded BoundedProduct(Device& reference, const Stack& stack, DType compute, const Numbers& x) {
  const Tensor values = Product(reference, stack, compute, x.view());
  const Tensor sizes = Product(reference, stack.Absolute(), DType::kF32, x.Absolute().view());
  const auto in = static_cast<double>(x.shape()[1]);
  Bounded bounded;
  for (int64_t i = 0; i < values.shape().elements(); i++) {
    bounded.values.push_back(values.as<float>()[i]);
    bounded.errors.push_back(4 * (in + 3) * kEpsilon * 1.01 * sizes.as<float>()[i]);
  }
  return bounded;
}

double ExactGelu(double x) { return 0.5 * x * std::erfc(-x * std::sqrt(0.5)); }

double ExactSilu(double x) { return x / (1 + std::exp(-x)); }

// erfc's fit 4 kEpsilon; its argument x/√2 (the constant and the product rounded) and the square of that meet
// an exponential, whose relative error is the absolute error of its argument: x² + x²/2 in all, and again
// that much for the reduction inside the exponential; the rest is a few roundings. What is below 1e-36 may be
// flushed.
double GeluError(double x) { return (16 + 3 * x * x) * kEpsilon * std::fabs(ExactGelu(x)) + 1e-36; }

// e^-gate within 2 ulp (4 kEpsilon), then 1 + e, the quotient and the product; e^-88 and subnormals where f32
// ends.
double SiluMulError(double gate, double up) {
  return 8 * kEpsilon * std::fabs(ExactSilu(gate) * up) + std::fabs(up) * 1e-36 + 1e-44;
}

Bounded Gelu(const Bounded& x) {
  Bounded y;
  for (size_t i = 0; i < x.values.size(); i++) {
    y.values.push_back(ExactGelu(x.values[i]));
    y.errors.push_back(1.13 * x.errors[i] + GeluError(x.values[i]));
  }
  return y;
}

Bounded SiluMul(const Bounded& x, int64_t width) {
  Bounded y;
  const auto half = static_cast<size_t>(width / 2);
  for (size_t row = 0; row < x.values.size(); row += 2 * half) {
    for (size_t i = row; i < row + half; i++) {
      const double gate = x.values[i], up = x.values[i + half];
      const double gate_error = 1.1 * x.errors[i], up_error = x.errors[i + half];
      y.values.push_back(ExactSilu(gate) * up);
      y.errors.push_back(gate_error * (std::fabs(up) + up_error) + std::fabs(ExactSilu(gate)) * up_error +
                         SiluMulError(gate, up));
    }
  }
  return y;
}

const char* NameOf(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::kNone:
      return "plain";
    case Epilogue::kAdd:
      return "added";
    case Epilogue::kGelu:
      return "gelu";
    case Epilogue::kSiluMul:
      return "silu·";
  }
  return "?";
}

const char* NameOf(RowClass row_class) { return row_class == RowClass::kDecode ? "decode" : "prefill"; }

}  // namespace bifrons::op_matrix
