// Multiply where arithmetic is exact, so that every device must give the same: long sums of small fractions,
// weights of every kind. And products that are the weights themselves, for the ends of the epilogues.
#include <algorithm>

#include "kernels/op_matrix/products.h"

namespace bifrons::op_matrix {
namespace {

// More terms and rows than one pass over a matrix may take. All values are small multiples of 1/8, so that
// f32 holds every sum: a worst-case bound on so long a sum would forgive a bias that is added twice.
struct LongSumsCase : Case {
  static constexpr int64_t kOut = 40, kIn = 4128, kRows = 205;
  DType stored, compute;
  RowClass row_class;
  Epilogue epilogue;
  int64_t rows;

  LongSumsCase(DType s, DType c, RowClass r, Epilogue e, int64_t n)
      : stored(s), compute(c), row_class(r), epilogue(e), rows(n) {
    op = "Multiply";
    shape = std::string("exact sums of 4128 terms ") + bifrons::NameOf(stored) + " · " +
            bifrons::NameOf(compute) + " " + NameOf(row_class) + " " + NameOf(epilogue) + " rows " +
            std::to_string(rows);
    macs = static_cast<double>(rows * kOut * kIn);
    bytes = static_cast<double>(BytesOf(stored, kOut * kIn));
  }

  static Numbers Eighths(DType type, Shape dims, uint64_t seed, float scale) {
    Random random(seed);
    return {type, dims, [&](int64_t) { return scale * static_cast<float>(random.Below(17) - 8) / 8; }};
  }
  Stack Weight() const {
    Stack stack;
    stack.parts.push_back(Eighths(stored, {kOut, kIn}, 1, 1));
    stack.bias.push_back(Eighths(stored, {kOut}, 2, 1));
    return stack;
  }
  Numbers X() const { return Eighths(DType::kF32, {rows, kIn}, 3, 8); }
  Numbers Start() const { return Eighths(DType::kF32, {rows, kOut}, 4, 1); }

  void Place(Stage& stage) const override {
    const Linear& linear = stage.Keep(Weight().Pack(stage.device(), compute));
    const View x = stage.In(X().view());
    const View y =
        epilogue == Epilogue::kAdd ? stage.InOut(Start().view()) : stage.Out(DType::kF32, {rows, kOut});
    stage.op = [this, &linear, x, y](Queue& queue) { queue.Multiply(linear, x, row_class, epilogue, y); };
  }
  double WorstShare(const std::vector<Tensor>& got, Device& reference) const override {
    const Tensor wanted = Product(reference, Weight(), compute, X().view());
    const Numbers start = Start();
    double worst = 0;
    for (int64_t i = 0; i < rows * kOut; i++) {
      const double old = epilogue == Epilogue::kAdd ? start[i] : 0;
      worst = Worse(worst, Share(got[0].as<float>()[i], wanted.as<float>()[i] + old, 0));
    }
    return worst;
  }
};

// Numbers where exponentials and erf are interesting, then random ones.
Numbers Activations(DType type, Shape dims, uint64_t seed) {
  constexpr float kEnds[] = {0.0f, -0.0f, 1e-30f, -1e-30f, 20,    -20,      87,
                             -87,  100,   -100,   1e6f,    -1e6f, 0.84375f, -3};
  Random random(seed);
  const int64_t n = dims.elements();
  return {type, dims, [&](int64_t i) {
            const float x = 4 * random.Normal();
            return n - 1 - i < std::ssize(kEnds) ? kEnds[n - 1 - i] : x;
          }};
}

// Only the first column of the weights and of x is not zero, and x has powers of two there: the epilogue sees
// exact numbers.
struct EpilogueCase : Case {
  static constexpr float kFactors[] = {1, -1, 0.5f};
  DType stored, compute;
  Epilogue epilogue;
  int64_t width, in, rows;  // of y

  EpilogueCase(DType s, DType c, Epilogue e, int64_t w, int64_t i, int64_t n)
      : stored(s), compute(c), epilogue(e), width(w), in(i), rows(n) {
    op = "Multiply";
    shape = std::string("exact arguments ") + bifrons::NameOf(stored) + " · " + bifrons::NameOf(compute) +
            " " + NameOf(epilogue) + " " + std::to_string(rows) + "×" + std::to_string(width) + " in " +
            std::to_string(in);
    macs = static_cast<double>(rows * out() * in);
    bytes = static_cast<double>(BytesOf(stored, out() * in));
  }

  int64_t out() const { return epilogue == Epilogue::kSiluMul ? 2 * width : width; }
  Numbers Arguments() const { return Activations(stored, {out()}, 1); }
  double Factor(int64_t row) const { return kFactors[row % 3]; }

  void Place(Stage& stage) const override {
    const Numbers arguments = Arguments();
    const Numbers weight(stored, {out(), in}, [&](int64_t i) { return i % in == 0 ? arguments[i / in] : 0; });
    const TensorView part = weight.view();
    const Linear& linear = stage.Keep(stage.device().PackLinear({&part, 1}, {}, compute));
    const Numbers x(DType::kF32, {rows, in}, [&](int64_t i) { return i % in == 0 ? Factor(i / in) : 0; });
    const View from = stage.In(x.view()), y = stage.Out(DType::kF32, {rows, width});
    stage.op = [this, &linear, from, y](Queue& queue) {
      queue.Multiply(linear, from, RowClass::kPrefill, epilogue, y);
    };
  }
  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    const Numbers arguments = Arguments();
    double worst = 0;
    for (int64_t r = 0; r < rows; r++) {
      for (int64_t i = 0; i < width; i++) {
        const double x = Factor(r) * arguments[i], y = got[0].as<float>()[r * width + i];
        if (epilogue == Epilogue::kGelu) {
          worst = Worse(worst, Share(y, ExactGelu(x), GeluError(x)));
        } else {
          const double up = Factor(r) * arguments[width + i];
          worst = Worse(worst, Share(y, ExactSilu(x) * up, SiluMulError(x, up)));
        }
      }
    }
    return worst;
  }
};

// One weight per output row, x = 1: y is the weight. bf16 subnormals are left out: vdpbf16ps takes them as 0.
struct StoredValuesCase : Case {
  static constexpr uint16_t kHalves[] = {0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00,
                                         0xBC01, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00};
  static constexpr uint16_t kBF16s[] = {0x0000, 0x8000, 0x0080, 0x8080, 0x3F80,
                                        0xBF81, 0x7F7F, 0xFF7F, 0x7F80, 0xFF80};
  DType stored;
  RowClass row_class;

  StoredValuesCase(DType s, RowClass r) : stored(s), row_class(r) {
    op = "Multiply";
    shape = std::string("values of ") + bifrons::NameOf(stored) + " " + NameOf(row_class);
  }
  TensorView Part() const {
    if (stored == DType::kF16) return {kHalves, stored, {std::ssize(kHalves), 1}};
    return {kBF16s, stored, {std::ssize(kBF16s), 1}};
  }
  void Place(Stage& stage) const override {
    const TensorView part = Part();
    const Linear& linear = stage.Keep(stage.device().PackLinear({&part, 1}, {}, DType::kF32));
    const View x = stage.In(Numbers(DType::kF32, {1, 1}, [](int64_t) { return 1; }).view());
    const View y = stage.Out(DType::kF32, {1, linear.out});
    stage.op = [this, &linear, x, y](Queue& queue) {
      queue.Multiply(linear, x, row_class, Epilogue::kNone, y);
    };
  }
  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    double worst = 0;
    for (int64_t i = 0; i < Part().shape[0]; i++)
      worst = Worse(worst, Share(got[0].as<float>()[i], NumberAt(Part(), i), 0));
    return worst;
  }
};

}  // namespace

void AddExactProductCases(Cases& cases) {
  constexpr DType kF32 = DType::kF32, kBF16 = DType::kBF16;
  constexpr std::pair<DType, DType> kTypes[] = {{kBF16, kBF16}, {kBF16, kF32}, {kF32, kF32}};
  for (const RowClass row_class : {RowClass::kDecode, RowClass::kPrefill}) {
    for (const Epilogue epilogue : {Epilogue::kNone, Epilogue::kAdd}) {
      for (const int64_t rows : {int64_t{1}, int64_t{17}, int64_t{33}, LongSumsCase::kRows}) {
        cases.push_back(std::make_unique<LongSumsCase>(kBF16, kBF16, row_class, epilogue, rows));
      }
      cases.push_back(std::make_unique<LongSumsCase>(kF32, kF32, row_class, epilogue, 33));
    }
    for (const DType stored : {DType::kF16, kBF16})
      cases.push_back(std::make_unique<StoredValuesCase>(stored, row_class));
  }
  for (const auto& [stored, compute] : kTypes) {
    for (const Epilogue epilogue : {Epilogue::kGelu, Epilogue::kSiluMul}) {
      for (const int64_t width : {1, 5, 33, 1025, 5632})
        cases.push_back(std::make_unique<EpilogueCase>(stored, compute, epilogue, width, 1, 3));
      cases.push_back(std::make_unique<EpilogueCase>(stored, compute, epilogue, 1024, 32, 40));
    }
  }
  cases.push_back(std::make_unique<EpilogueCase>(kF32, kF32, Epilogue::kGelu, 40000, 1, 1));
}

}  // namespace bifrons::op_matrix
