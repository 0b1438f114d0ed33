// Two products, of which the first writes what the second reads in the device's own layout.
#include "kernels/op_matrix/products.h"

namespace bifrons::op_matrix {
namespace {

struct OwnLayoutCase : Case {
  int64_t in, inner, out, rows;
  DType stored, compute;
  Epilogue first_epilogue;
  bool bias;

  OwnLayoutCase(int64_t i, int64_t m, int64_t o, int64_t n, DType type, Epilogue e, bool b)
      : in(i), inner(m), out(o), rows(n), stored(type), compute(type), first_epilogue(e), bias(b) {
    op = "Multiply";
    shape = std::to_string(in) + "→" + std::to_string(inner) + "→" + std::to_string(out) +
            " in own layout, " + NameOf(e) + " " + bifrons::NameOf(type) + " rows " + std::to_string(rows) +
            (bias ? "" : " without bias");
    macs = static_cast<double>(rows) * static_cast<double>(first_out() * in + out * inner);
    bytes = static_cast<double>(BytesOf(stored, first_out() * in + out * inner));
  }

  int64_t first_out() const { return first_epilogue == Epilogue::kSiluMul ? 2 * inner : inner; }
  Stack First() const { return MakeStack({&stored, 1}, first_out(), in, bias, 1); }
  Stack Second() const { return MakeStack({&stored, 1}, out, inner, bias, 11); }
  Numbers X() const { return Normals(DType::kF32, {rows, in}, 5, 0.3f); }
  Numbers Start() const { return Normals(DType::kF32, {rows, out}, 6); }

  void Place(Stage& stage) const override {
    const Linear& first = stage.Keep(First().Pack(stage.device(), compute));
    const Linear& second = stage.Keep(Second().Pack(stage.device(), compute));
    const View x = stage.In(X().view()), y = stage.InOut(Start().view());
    const View between = stage.Between(DType::kF32, {rows, inner}).InOwnLayout();
    stage.op = [this, &first, &second, x, between, y](Queue& queue) {
      queue.Multiply(first, x, RowClass::kPrefill, first_epilogue, between);
      queue.Multiply(second, between, RowClass::kPrefill, Epilogue::kAdd, y);
    };
  }

  // The first product's errors pass through the second matrix: Σ|w|·error. In bf16 arithmetic what stands
  // between may also be rounded the other way.
  double WorstShare(const std::vector<Tensor>& got, Device& reference) const override {
    const Bounded product = BoundedProduct(reference, First(), compute, X());
    const Bounded between =
        first_epilogue == Epilogue::kSiluMul ? SiluMul(product, first_out()) : Gelu(product);
    const Numbers values(DType::kF32, {rows, inner},
                         [&](int64_t i) { return between.values[static_cast<size_t>(i)]; });
    const Numbers errors(DType::kF32, {rows, inner}, [&](int64_t i) {
      const auto at = static_cast<size_t>(i);
      const double rounding = compute == DType::kBF16 ? 2 * kBF16Epsilon : kEpsilon;
      return 1.01 * (between.errors[at] + rounding * std::fabs(between.values[at]));
    });
    const Bounded wanted = BoundedProduct(reference, Second(), compute, values);
    Stack spreading = Second().Absolute();
    spreading.bias.clear();
    const Tensor passed = Product(reference, spreading, DType::kF32, errors.view());
    const Numbers start = Start();
    double worst = 0;
    for (int64_t i = 0; i < rows * out; i++) {
      const auto at = static_cast<size_t>(i);
      const double error = wanted.errors[at] + 1.01 * passed.as<float>()[i] +
                           4 * static_cast<double>(inner + 3) * kEpsilon * std::fabs(start[i]);
      worst = Worse(worst, Share(got[0].as<float>()[i], wanted.values[at] + start[i], error));
    }
    return worst;
  }
};

}  // namespace

void AddOwnLayoutCases(Cases& cases) {
  constexpr struct {
    int64_t in, inner, out, rows;
  } kShapes[] = {{64, 96, 33, 40},  {32, 64, 32, 16}, {24, 60, 24, 25},
                 {96, 130, 40, 33}, {64, 128, 64, 1}, {128, 512, 160, 77}};
  for (const auto& [in, inner, out, rows] : kShapes) {
    for (const DType type : {DType::kF32, DType::kBF16}) {
      for (const Epilogue epilogue : {Epilogue::kGelu, Epilogue::kSiluMul}) {
        for (const bool bias : {true, false})
          cases.push_back(std::make_unique<OwnLayoutCase>(in, inner, out, rows, type, epilogue, bias));
      }
    }
  }
  // An MLP of SigLIP-Large, and of Janus-Pro-1B for a long prompt.
  for (const DType type : {DType::kF32, DType::kBF16}) {
    cases.push_back(std::make_unique<OwnLayoutCase>(1024, 4096, 1024, 576, type, Epilogue::kGelu, true));
    cases.back()->published = true;
    cases.push_back(std::make_unique<OwnLayoutCase>(2048, 5632, 2048, 128, type, Epilogue::kSiluMul, false));
    cases.back()->published = true;
  }
}

}  // namespace bifrons::op_matrix
