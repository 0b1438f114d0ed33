// MultiplyNormed: bit by bit what RmsNorm and Multiply, which other cases judge, make one after the other.
#include <algorithm>
#include <array>

#include "kernels/op_matrix/products.h"

namespace bifrons::op_matrix {
namespace {

constexpr float kEps = 1e-6f;

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
    const Stack stack = MakeStack(std::array{type, type}, out, in, false, 1);
    const Linear& linear = stage.Keep(stack.Pack(stage.device(), compute));
    const View norm = stage.In(Normals(DType::kF32, {in}, 2, 0.1f, 1).view());
    const int64_t most = *std::max_element(rows.begin(), rows.end());
    const View x = stage.In(Normals(DType::kF32, {most, in}, 3, 5).view());
    const int64_t width = epilogue == Epilogue::kSiluMul ? out / 2 : out;
    std::vector<View> ys, zs, normed;
    for (const int64_t n : rows) {
      const Numbers start = Normals(DType::kF32, {n, width}, 4);
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

  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    double worst = 0;
    for (size_t i = 0; i < got.size(); i += 2)
      worst = Worse(worst, SameBytes(got[i].view(), got[i + 1].view()));
    return worst;
  }
};

}  // namespace

void AddNormedProductCases(Cases& cases) {
  constexpr struct {
    int64_t out, in;
  } kShapes[] = {{7, 5}, {33, 31}, {96, 64}, {64, 130}, {64, 258}, {160, 384}};
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
  for (const DType compute : {DType::kF32, DType::kBF16}) {
    for (const auto& [out, in] : {std::pair{6144, 2048}, {12288, 4096}}) {
      cases.push_back(std::make_unique<MultiplyNormedCase>(DType::kBF16, out, in, compute, RowClass::kDecode,
                                                           Epilogue::kNone));
      cases.back()->published = true;
    }
  }
}

}  // namespace bifrons::op_matrix
