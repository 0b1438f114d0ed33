// Multiply with every epilogue, class and type, against the reference device's products.
#include <algorithm>
#include <optional>

#include "kernels/op_matrix/products.h"

namespace bifrons::op_matrix {
namespace {

// Weights of decode products are read from memory once per step: as many copies take turns as no cache holds.
constexpr double kBeyondCaches = 192e6;

// Several numbers of rows, of the same matrix and the same x.
struct MultiplyCase : Case {
  std::vector<DType> types;  // of the parts
  int64_t out, in;
  DType compute;
  RowClass row_class;
  Epilogue epilogue;
  std::vector<int64_t> rows;
  bool bias = true;
  // Found once for all epilogues and classes of a matrix.
  std::shared_ptr<std::optional<Bounded>> products = std::make_shared<std::optional<Bounded>>();

  MultiplyCase(std::vector<DType> stored, int64_t o, int64_t i, DType c, RowClass r, Epilogue e,
               std::vector<int64_t> n)
      : types(std::move(stored)), out(o), in(i), compute(c), row_class(r), epilogue(e), rows(std::move(n)) {
    op = "Multiply";
    shape = std::to_string(out) + "×" + std::to_string(in) + " ";
    for (size_t i = 0; i < types.size(); i++) shape += std::string(i ? "+" : "") + bifrons::NameOf(types[i]);
    shape += std::string(" · ") + bifrons::NameOf(compute) + " " + NameOf(row_class) + " " +
             NameOf(epilogue) + " rows";
    for (const int64_t count : rows) {
      shape += " " + std::to_string(count);
      macs += static_cast<double>(count * out * in);
      bytes += static_cast<double>(BytesOf(types[0], out * in)) +
               4.0 * static_cast<double>(count * (in + width()));
    }
  }

  int64_t width() const { return epilogue == Epilogue::kSiluMul ? out / 2 : out; }
  int64_t most_rows() const { return *std::max_element(rows.begin(), rows.end()); }
  Stack Weight() const { return MakeStack(types, out, in, bias, 1); }
  Numbers X() const { return Normals(DType::kF32, {most_rows(), in}, 4); }
  Numbers Start(int64_t n) const { return Normals(DType::kF32, {n, width()}, 5); }

  void Place(Stage& stage) const override {
    const Stack weight = Weight();
    std::vector<const Linear*> copies;
    double held = 0;
    do {
      copies.push_back(&stage.Keep(weight.Pack(stage.device(), compute)));
      held += static_cast<double>(copies.back()->bytes);
    } while (published && row_class == RowClass::kDecode && held < kBeyondCaches);
    const View x = stage.In(X().view());
    std::vector<View> ys;
    for (const int64_t n : rows) {
      const Shape dims{n, width()};
      ys.push_back(epilogue == Epilogue::kAdd ? stage.InOut(Start(n).view()) : stage.Out(DType::kF32, dims));
    }
    stage.op = [this, copies, x, ys, turn = size_t{0}](Queue& queue) mutable {
      const Linear& linear = *copies[turn++ % copies.size()];
      for (size_t i = 0; i < rows.size(); i++) {  // x's last rows, so that there is nothing after them
        queue.Multiply(linear, x.Rows(x.rows() - rows[i], rows[i]), row_class, epilogue, ys[i]);
      }
    };
  }

  double WorstShare(const std::vector<Tensor>& got, Device& reference) const override {
    if (!products->has_value()) *products = BoundedProduct(reference, Weight(), compute, X());
    Bounded wanted = **products;
    if (epilogue == Epilogue::kGelu) wanted = Gelu(wanted);
    if (epilogue == Epilogue::kSiluMul) wanted = SiluMul(wanted, out);
    double worst = 0;
    Average average;
    for (size_t i = 0; i < rows.size(); i++) {
      const Numbers start = Start(epilogue == Epilogue::kAdd ? rows[i] : 0);
      const auto first = static_cast<size_t>((most_rows() - rows[i]) * width());
      for (int64_t j = 0; j < rows[i] * width(); j++) {
        const auto at = first + static_cast<size_t>(j);
        double value = wanted.values[at], error = wanted.errors[at];
        if (epilogue == Epilogue::kAdd) {
          value += start[j];  // which is one more term of the sum
          error += 4 * static_cast<double>(in + 3) * kEpsilon * std::fabs(start[j]);
        }
        const double y = got[i].as<float>()[j];
        worst = Worse(worst, Share(y, value, error));
        average.Add(y - value, error);
      }
    }
    const bool sums_alone = epilogue == Epilogue::kNone || epilogue == Epilogue::kAdd;
    return sums_alone ? Worse(worst, average.Share(static_cast<double>(in + 3))) : worst;
  }
};

}  // namespace

void AddMultiplyCases(Cases& cases) {
  constexpr struct {
    int64_t out, in;
  } kShapes[] = {{1, 1},    {7, 5},    {31, 33},  {32, 16},   {33, 31}, {65, 127}, {96, 64},
                 {97, 130}, {64, 257}, {130, 96}, {192, 384}, {64, 48}, {96, 112}, {160, 176}};
  const std::vector<int64_t> rows{1, 2, 3, 12, 13, 16, 17, 31, 32, 33, 64, 65, 97, 130};
  constexpr DType kF32 = DType::kF32, kBF16 = DType::kBF16, kF16 = DType::kF16;
  const std::vector<DType> stored[] = {{kF32, kF32}, {kBF16, kBF16}, {kF16, kF16}};
  const std::vector<DType> mixed[] = {{kF32, kBF16}, {kBF16, kBF16, kF32}, {kBF16, kF16, kF32}};
  const auto add = [&](const std::vector<DType>& types, int64_t out, int64_t in, bool bias) {
    for (const DType compute : {kF32, kBF16}) {
      std::shared_ptr<std::optional<Bounded>> products;
      for (const RowClass row_class : {RowClass::kDecode, RowClass::kPrefill}) {
        for (const Epilogue epilogue : kEpilogues) {
          if (epilogue == Epilogue::kSiluMul && out % 2 != 0) continue;
          auto one = std::make_unique<MultiplyCase>(types, out, in, compute, row_class, epilogue, rows);
          one->bias = bias;
          products = one->products = products ? products : one->products;
          if (!bias) one->shape += " without bias";
          cases.push_back(std::move(one));
        }
      }
    }
  };
  for (const auto& [out, in] : kShapes) {
    for (const std::vector<DType>& types : stored) add(types, out, in, true);
  }
  for (const std::vector<DType>& types : mixed) {
    add(types, 97, 130, true);
    add(types, 192, 96, true);
  }
  add({kBF16}, 96, 64, false);
  add({kF32}, 66, 35, false);
  // Deep, and wide enough for every way in which a device may deal columns to its blocks.
  for (const auto& [out, in] : {std::pair{96, 1040}, {4256, 48}}) {
    for (const Epilogue epilogue : kEpilogues) {
      cases.push_back(std::make_unique<MultiplyCase>(std::vector{kBF16}, out, in, kBF16, RowClass::kDecode,
                                                     epilogue, std::vector<int64_t>{1, 9, 33}));
    }
  }

  // Janus-Pro 1B and 7B: q, k and v; attention's output; gates and what they gate; down; the image head.
  constexpr struct {
    int64_t out, in;
    Epilogue epilogue;
  } kPublished[] = {
      {6144, 2048, Epilogue::kNone},  {2048, 2048, Epilogue::kAdd},      {11264, 2048, Epilogue::kSiluMul},
      {2048, 5632, Epilogue::kAdd},   {16384, 2048, Epilogue::kNone},    {12288, 4096, Epilogue::kNone},
      {4096, 4096, Epilogue::kAdd},   {22016, 4096, Epilogue::kSiluMul}, {4096, 11008, Epilogue::kAdd},
      {16384, 4096, Epilogue::kNone},
  };
  // The encoder of seen pictures, SigLIP-Large: 576 patches.
  constexpr struct {
    int64_t out, in;
    Epilogue epilogue;
  } kSeen[] = {{3072, 1024, Epilogue::kNone},
               {1024, 1024, Epilogue::kAdd},
               {4096, 1024, Epilogue::kGelu},
               {1024, 4096, Epilogue::kAdd}};
  const auto publish = [&](int64_t out, int64_t in, DType compute, RowClass row_class, Epilogue epilogue,
                           int64_t count) {
    auto one = std::make_unique<MultiplyCase>(std::vector<DType>{kBF16}, out, in, compute, row_class,
                                              epilogue, std::vector<int64_t>{count});
    one->published = true;
    one->bias = false;
    cases.push_back(std::move(one));
  };
  for (const DType compute : {kF32, kBF16}) {
    for (const auto& [out, in, epilogue] : kPublished) {
      for (const int64_t count : {2, 32}) publish(out, in, compute, RowClass::kDecode, epilogue, count);
      publish(out, in, compute, RowClass::kPrefill, epilogue, 128);
    }
    for (const auto& [out, in, epilogue] : kSeen)
      publish(out, in, compute, RowClass::kPrefill, epilogue, 576);
  }
}

}  // namespace bifrons::op_matrix
