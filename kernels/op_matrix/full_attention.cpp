// AttendAll against the reference device.
#include <algorithm>

#include "kernels/op_matrix/case.h"

namespace bifrons::op_matrix {
namespace {

struct FullAttentionCase : Case {
  int64_t n;
  FullAttention attention;
  DType type;

  FullAttentionCase(int64_t rows, int64_t heads, int64_t dim, DType t, DType compute)
      : n(rows), attention{heads, dim, compute}, type(t) {
    op = "AttendAll";
    shape = std::to_string(n) + " rows, " + std::to_string(heads) + " heads of " + std::to_string(dim) + " " +
            NameOf(t) + " · " + NameOf(compute);
    macs = 2.0 * static_cast<double>(n * n * heads * dim);
    bytes = 4.0 * static_cast<double>(BytesOf(t, n * width()));
  }
  int64_t width() const { return attention.heads * attention.head_dim; }

  // q, k and v side by side in the rows of one matrix, between other columns.
  void Place(Stage& stage) const override {
    const View all = stage.In(Normals(type, {n, 3 * width()}, 11).view(), {0, 5});
    const View q = all.Columns(0, width()), k = all.Columns(width(), width());
    const View v = all.Columns(2 * width(), width()), y = stage.Out(type, {n, width()});
    stage.op = [this, q, k, v, y](Queue& queue) { queue.AttendAll(attention, q, k, v, y); };
  }

  // A score is a sum of head_dim products, scaled by head_dim^-½; its worst error is relative to Σ|q||k|, of
  // normal numbers about 0.64·head_dim and at most 2·head_dim, scaled. An error e of the scores moves a
  // result by at most 2e·max|v| = 12e; sums of n weights add n roundings. In bf16 every weight may also be
  // rounded the other way, and of bf16 results both sides'.
  double WorstShare(const std::vector<Tensor>& got, Device& reference) const override {
    const Outcome wanted = RunOn(reference, *this);
    const double dim = static_cast<double>(attention.head_dim), rows = static_cast<double>(n);
    const double score = (dim + 4) * kEpsilon * 2 * std::sqrt(dim);
    const bool rounded = attention.compute == DType::kBF16;
    const double allowed = 12 * (score + (rows + 16) * kEpsilon) + (rounded ? 6 * 2 * kBF16Epsilon : 0);
    double worst = 0, errors = 0, squares = 0;
    for (int64_t i = 0; i < got[0].shape().elements(); i++) {
      const double y = NumberAt(got[0].view(), i), w = NumberAt(wanted.results[0].view(), i);
      const double own = type == DType::kBF16 ? kBF16Epsilon * std::fabs(w) : 0;
      worst = Worse(worst, Share(y, w, allowed + own, type));
      errors += (y - w) * (y - w), squares += w * w;
    }
    // Those are worst cases; each kind of rounding, which only differs now and then, stays below half a bf16
    // ulp on average.
    const int roundings = (rounded ? 1 : 0) + (type == DType::kBF16 ? 1 : 0);
    const double average = roundings == 0 ? 1e-5 : roundings * kBF16Epsilon / 2;
    return Worse(worst, std::sqrt(errors / squares) / average);
  }
};

}  // namespace

void AddFullAttentionCases(Cases& cases) {
  constexpr struct {
    int64_t n, heads, head_dim;
  } kShapes[] = {{1, 1, 32},   {35, 1, 96}, {9, 3, 5},  {144, 4, 64}, {17, 2, 33},
                 {72, 1, 512}, {65, 2, 72}, {33, 3, 8}, {100, 2, 64}, {2, 3, 32}};
  for (const DType type : {DType::kF32, DType::kBF16}) {
    for (const DType compute : {DType::kF32, DType::kBF16}) {
      for (const auto& [n, heads, dim] : kShapes)
        cases.push_back(std::make_unique<FullAttentionCase>(n, heads, dim, type, compute));
      // The encoder of seen pictures, and the VQ networks' map of 24×24.
      for (const auto& [heads, dim] : {std::pair(16, 64), std::pair(1, 512)}) {
        cases.push_back(std::make_unique<FullAttentionCase>(576, heads, dim, type, compute));
        cases.back()->published = true;
      }
    }
  }
}

}  // namespace bifrons::op_matrix
