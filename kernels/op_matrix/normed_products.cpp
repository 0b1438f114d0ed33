// MultiplyNormed: in f32 bit by bit what RmsNorm and Multiply, which other cases judge, make one after the
// other; in bf16 judged by the reference, and a row's bits the same in every company.
#include <array>

#include "kernels/op_matrix/products.h"

namespace bifrons::op_matrix {
namespace {

// Several numbers of rows, of the same matrix and the same x.
struct MultiplyNormedCase : Case {
  DType type;  // of the weights
  int64_t out, in;
  DType compute;
  RowClass row_class;
  Epilogue epilogue;
  std::vector<int64_t> rows{1, 2, 3, 8, 9, 17, 33};

  MultiplyNormedCase(DType stored, int64_t o, int64_t i, DType c, RowClass r, Epilogue e)
      : type(stored), out(o), in(i), compute(c), row_class(r), epilogue(e) {
    op = "MultiplyNormed";
    shape = std::to_string(out) + "×" + std::to_string(in) + " " + bifrons::NameOf(type) + " · " +
            bifrons::NameOf(compute) + " " + NameOf(row_class) + " " + NameOf(epilogue);
    for (const int64_t count : rows) {
      macs += static_cast<double>(count * out * in);
      bytes += static_cast<double>(BytesOf(type, out * in)) + 4.0 * static_cast<double>(count * (in + out));
    }
  }

  void Place(Stage& stage) const override {
    const Linear& linear = stage.Keep(Weight().Pack(stage.device(), compute));
    const View norm = stage.In(Norm().view());
    const View x = stage.In(X().view());
    const int64_t most = Most();
    std::vector<View> ys, zs, normed;
    for (const int64_t n : rows) {
      const Numbers start = Start(n);
      ys.push_back(stage.InOut(start.view()));
      zs.push_back(stage.InOut(start.view()));
      normed.push_back(stage.Between(DType::kF32, {n, in}));
    }
    // x's last rows, so that there is nothing after them.
    const auto part = [x, most](int64_t n) { return x.Rows(most - n, n); };
    stage.op = [this, &linear, norm, ys, part](Queue& queue) {
      for (size_t i = 0; i < rows.size(); i++)
        queue.MultiplyNormed(linear, part(rows[i]), norm, kEps, row_class, epilogue, ys[i]);
    };
    stage.look = [this, &linear, norm, zs, normed, part](Queue& queue) {
      for (size_t i = 0; i < rows.size(); i++) {
        queue.RmsNorm(part(rows[i]), norm, kEps, normed[i]);
        queue.Multiply(linear, normed[i], row_class, epilogue, zs[i]);
      }
    };
  }

  double WorstShare(const std::vector<Tensor>& got, Device& reference) const override {
    double worst = 0;
    for (size_t i = 0; i < got.size() && compute == DType::kF32; i += 2)
      worst = Worse(worst, SameBytes(got[i].view(), got[i + 1].view()));
    if (compute == DType::kF32) return worst;

    const Bounded wanted = Wanted(reference);
    const Numbers start = Start(Most());
    for (size_t i = 0; i < got.size(); i++) {
      const int64_t count = got[i].shape().elements(), before = Most() * width() - count;
      for (int64_t j = 0; j < count; j++) {
        const double base = epilogue == Epilogue::kAdd ? start[before + j] : 0;
        const double error = wanted.errors[static_cast<size_t>(before + j)] + 4 * kEpsilon * std::fabs(base);
        const double value = wanted.values[static_cast<size_t>(before + j)] + base;
        worst = Worse(worst, Share(got[i].as<float>()[j], value, error));
      }
      // Products of one kind, of the most rows.
      const Tensor& most = got[got.size() - 2 + i % 2];
      const TensorView same{most.as<float>() + before, DType::kF32, got[i].shape()};
      worst = Worse(worst, SameBytes(got[i].view(), same));
    }
    return worst;
  }

 private:
  int64_t Most() const { return rows.back(); }
  int64_t width() const { return epilogue == Epilogue::kSiluMul ? out / 2 : out; }
  Stack Weight() const { return MakeStack(std::array{type, type}, out, in, false, 1); }
  Numbers Norm() const { return Normals(DType::kF32, {in}, 2, 0.1f, 1); }
  Numbers X() const { return Normals(DType::kF32, {Most(), in}, 3, 5); }
  // Of the last n rows.
  Numbers Start(int64_t n) const {
    const Numbers all = Normals(DType::kF32, {Most(), width()}, 4);
    return {DType::kF32, {n, width()}, [&](int64_t i) { return all[(Most() - n) * width() + i]; }};
  }

  // Of all rows, without what they are added to. Rows are rounded to bf16 normed, as here, or before they are
  // scaled: each product then has another rounding, and both sides one of their own. The sum of squares may
  // be made in any order: relatively 2 · in roundings, of which the root takes half.
  Bounded Wanted(Device& reference) const {
    const Numbers x = X(), norm = Norm();
    std::vector<double> scale;
    for (int64_t row = 0; row < Most(); row++) {
      double squares = 0;
      for (int64_t i = 0; i < in; i++) squares += x[row * in + i] * x[row * in + i];
      scale.push_back(1 / std::sqrt(squares / static_cast<double>(in) + static_cast<double>(kEps)));
    }
    const Numbers normed(DType::kF32, {Most(), in},
                         [&](int64_t i) { return x[i] * scale[static_cast<size_t>(i / in)] * norm[i % in]; });
    Bounded product = BoundedProduct(reference, Weight(), compute, normed);
    const Tensor sizes = Product(reference, Weight().Absolute(), DType::kF32, normed.Absolute().view());
    const double rounding = 2 * kBF16Epsilon + static_cast<double>(in + 6) * kEpsilon;
    for (size_t i = 0; i < product.errors.size(); i++)
      product.errors[i] += 1.01 * rounding * sizes.as<float>()[i];
    return epilogue == Epilogue::kSiluMul ? SiluMul(product, out) : product;
  }
};

}  // namespace

void AddNormedProductCases(Cases& cases) {
  constexpr struct {
    int64_t out, in;
  } kShapes[] = {{7, 5}, {33, 31}, {96, 64}, {64, 130}, {64, 258}, {192, 384}, {96, 1040}};
  for (const auto& [out, in] : kShapes) {
    for (const DType type : {DType::kF32, DType::kBF16, DType::kF16}) {
      for (const DType compute : {DType::kF32, DType::kBF16}) {
        for (const RowClass row_class : {RowClass::kDecode, RowClass::kPrefill}) {
          for (const Epilogue epilogue : {Epilogue::kNone, Epilogue::kAdd, Epilogue::kSiluMul}) {
            if (epilogue == Epilogue::kSiluMul && out % 2 != 0) continue;
            cases.push_back(
                std::make_unique<MultiplyNormedCase>(type, out, in, compute, row_class, epilogue));
          }
        }
      }
    }
  }
  // Wide enough for every way in which a device may deal columns to its blocks.
  cases.push_back(std::make_unique<MultiplyNormedCase>(DType::kBF16, 8544, 32, DType::kBF16,
                                                       RowClass::kDecode, Epilogue::kSiluMul));
  for (const DType compute : {DType::kF32, DType::kBF16}) {
    for (const auto& [out, in] : {std::pair{6144, 2048}, {12288, 4096}}) {
      cases.push_back(std::make_unique<MultiplyNormedCase>(DType::kBF16, out, in, compute, RowClass::kDecode,
                                                           Epilogue::kNone));
      cases.back()->published = true;
    }
  }
}

}  // namespace bifrons::op_matrix
