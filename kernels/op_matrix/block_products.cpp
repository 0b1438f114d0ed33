// Multiply where weights stand in blocks. kernels/quantize_row.h leaves a device no choice, so its sums are
// the reference's, bit for bit.
#include <limits>

#include "kernels/op_matrix/products.h"
#include "kernels/quantize_row.h"
#include "src/base/blocks.h"

namespace bifrons::op_matrix {
namespace {

// The blocks of random numbers, with their ends where that says something: the largest steps, blocks of
// zeros, scales that f16 holds as subnormals.
Tensor BlockWeights(DType type, Shape shape, uint64_t seed) {
  Random random(seed);
  const int64_t n = shape.elements();
  Tensor numbers(DType::kF32, shape);
  for (int64_t first = 0; first < n; first += kQuantizedGroup) {
    const int64_t kind = random.Below(12);
    const float size = kind == 0 ? 0 : kind == 1 ? 1e-6f : kind == 2 ? 100 : 1;
    const float shift = kind == 3 ? 2 : 0;  // all of one sign
    for (int64_t i = first; i < first + kQuantizedGroup; i++)
      numbers.as<float>()[i] = size * random.Normal() + shift;
  }
  Tensor blocks(type, shape);
  Quantize(numbers.as<float>(), n, type, blocks.data());
  // What no quantiser makes and a file may hold.
  if (type == DType::kQ8_0) static_cast<BlockQ8_0*>(blocks.data())->q[5] = -128;
  return blocks;
}

// Rows of all sizes; one has groups of zeros and of next to nothing, one infinity, one NaN. `tame` ones make
// no gates beyond those that SiluMulError knows.
Numbers Rows(int64_t rows, int64_t in, bool tame) {
  Random random(11);
  return {DType::kF32, {rows, in}, [&](int64_t i) {
            const int64_t row = i / in, group = i % in / kQuantizedGroup;
            const float x = random.Normal();
            if (tame) return 0.005f * x;
            if (row % 5 == 1) return 1e5f * x;
            if (row % 5 == 2) return 1e-7f * x;
            if (row % 5 == 3 && group % 2 == 0) return group % 4 == 0 ? 0 * x : 1e-35f * x;
            if (row == 4 && i % in == 3) return std::numeric_limits<float>::infinity();
            if (row == 9 && i % in == 3) return std::numeric_limits<float>::quiet_NaN();
            return x;
          }};
}

struct BlockProductCase : Case {
  std::vector<DType> types;
  int64_t out, in, rows;
  DType compute;
  RowClass row_class;
  Epilogue epilogue;

  BlockProductCase(std::vector<DType> t, int64_t o, int64_t i, int64_t n, DType c, RowClass r, Epilogue e)
      : types(std::move(t)), out(o), in(i), rows(n), compute(c), row_class(r), epilogue(e) {
    op = "Multiply";
    shape = "blocks";
    for (const DType type : types) shape += std::string(" ") + bifrons::NameOf(type);
    shape += std::string(" · ") + bifrons::NameOf(compute) + " " + NameOf(row_class) + " " +
             NameOf(epilogue) + " " + std::to_string(out) + "×" + std::to_string(in) + " rows " +
             std::to_string(rows);
    macs = static_cast<double>(rows * out * in);
    for (int64_t i = 0; i < std::ssize(types); i++)
      bytes += static_cast<double>(BytesOf(types[static_cast<size_t>(i)], Part(i) * in));
  }

  // Rows of a part: unequal where there are several.
  int64_t Part(int64_t i) const {
    const auto count = std::ssize(types);
    const int64_t small = out / (count + 1);
    return i + 1 < count ? small : out - (count - 1) * small;
  }
  int64_t width() const { return epilogue == Epilogue::kSiluMul ? out / 2 : out; }
  Numbers Start() const { return Normals(DType::kF32, {rows, width()}, 5); }

  std::unique_ptr<Linear> Pack(Device& device) const {
    std::vector<Tensor> parts;
    std::vector<TensorView> views;
    for (int64_t i = 0; i < std::ssize(types); i++) {
      parts.push_back(
          BlockWeights(types[static_cast<size_t>(i)], {Part(i), in}, static_cast<uint64_t>(i) + 1));
    }
    for (const Tensor& part : parts) views.push_back(part.view());
    return device.PackLinear(views, Weights(DType::kF32, {out}, 7).view(), compute);
  }
  void PlaceAs(Stage& stage, Epilogue end) const {
    const Linear& linear = stage.Keep(Pack(stage.device()));
    const View x = stage.In(Rows(rows, in, epilogue == Epilogue::kSiluMul).view());
    const View y = end == Epilogue::kAdd ? stage.InOut(Start().view())
                                         : stage.Out(DType::kF32, {rows, end == epilogue ? width() : out});
    stage.op = [this, &linear, x, y, end](Queue& queue) { queue.Multiply(linear, x, row_class, end, y); };
  }
  void Place(Stage& stage) const override { PlaceAs(stage, epilogue); }

  double WorstShare(const std::vector<Tensor>& got, Device& reference) const override {
    const bool sums_alone = epilogue == Epilogue::kNone || epilogue == Epilogue::kAdd;
    Stage stage(reference);
    PlaceAs(stage, sums_alone ? epilogue : Epilogue::kNone);
    const Tensor wanted = std::move(stage.Run().results[0]);
    double worst = 0;
    for (int64_t r = 0; r < rows; r++) {
      for (int64_t i = 0; i < width(); i++) {
        const double x = wanted.as<float>()[r * out + i], y = got[0].as<float>()[r * width() + i];
        if (sums_alone) {
          worst = Worse(worst, Share(y, x, 0));
        } else if (epilogue == Epilogue::kGelu) {
          worst = Worse(worst, Share(y, ExactGelu(x), GeluError(x)));
        } else {
          const double up = wanted.as<float>()[r * out + width() + i];
          worst = Worse(worst, Share(y, ExactSilu(x) * up, SiluMulError(x, up)));
        }
      }
    }
    return worst;
  }
};

// MultiplyNormed of blocks is bit by bit what RmsNorm and Multiply make one after the other.
struct BlockNormedCase : BlockProductCase {
  BlockNormedCase(std::vector<DType> t, int64_t o, int64_t i, int64_t n, RowClass r, Epilogue e)
      : BlockProductCase(std::move(t), o, i, n, DType::kF32, r, e) {
    op = "MultiplyNormed";
  }

  void Place(Stage& stage) const override {
    const Linear& linear = stage.Keep(Pack(stage.device()));
    const View norm = stage.In(Normals(DType::kF32, {in}, 2, 0.1f, 1).view());
    const View x = stage.In(Normals(DType::kF32, {rows, in}, 3, 5).view());
    const View y = stage.InOut(Start().view()), z = stage.InOut(Start().view());
    const View normed = stage.Between(DType::kF32, {rows, in});
    stage.op = [this, &linear, norm, x, y](Queue& queue) {
      queue.MultiplyNormed(linear, x, norm, kEps, row_class, epilogue, y);
    };
    stage.look = [this, &linear, norm, x, z, normed](Queue& queue) {
      queue.RmsNorm(x, norm, kEps, normed);
      queue.Multiply(linear, normed, row_class, epilogue, z);
    };
  }
  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    return SameBytes(got[0].view(), got[1].view());
  }
};

}  // namespace

void AddBlockProductCases(Cases& cases) {
  constexpr DType kF32 = DType::kF32, kBF16 = DType::kBF16, kQ8 = DType::kQ8_0, kQ4 = DType::kQ4_0,
                  kQ4_K = DType::kQ4_K;
  const auto add = [&](const std::vector<DType>& types, int64_t out, int64_t in, int64_t rows, DType compute,
                       RowClass row_class, Epilogue epilogue) {
    cases.push_back(std::make_unique<BlockProductCase>(types, out, in, rows, compute, row_class, epilogue));
  };
  const std::vector<DType> alone[] = {{kQ8}, {kQ4}, {kQ4_K}};
  for (const std::vector<DType>& types : alone) {
    const int64_t block = BlockOf(types[0]).values;
    for (const Epilogue epilogue : kEpilogues) {
      const int64_t even = epilogue == Epilogue::kSiluMul ? 1 : 0;
      for (const int64_t rows : {1, 2, 3, 5, 12, 13, 17, 33}) {
        for (const auto& [out, blocks] : {std::pair{1, 1}, {31, 3}, {33, 2}, {70, 9}})
          add(types, out + even * (out % 2), blocks * block, rows, kF32, RowClass::kDecode, epilogue);
      }
      for (const int64_t rows : {1, 97, 130}) {
        add(types, 66, 2 * block, rows, kBF16, RowClass::kPrefill, epilogue);
        add(types, 66, 2 * block, rows, kF32, RowClass::kPrefill, epilogue);
      }
    }
  }
  const std::vector<DType> mixed[] = {{kQ4_K, kQ8}, {kQ8, kQ4, kQ4_K}};
  for (const std::vector<DType>& types : mixed) {
    for (const int64_t rows : {2, 17}) {
      for (const Epilogue epilogue : kEpilogues) add(types, 70, 256, rows, kF32, RowClass::kDecode, epilogue);
    }
  }
  const std::vector<DType> normed[] = {{kQ8}, {kQ4}, {kQ4_K}, {kQ8, kQ4, kQ4_K}};
  for (const std::vector<DType>& types : normed) {
    for (const RowClass row_class : {RowClass::kDecode, RowClass::kPrefill}) {
      for (const Epilogue epilogue : {Epilogue::kNone, Epilogue::kSiluMul}) {
        for (const int64_t rows : {2, 9})
          cases.push_back(std::make_unique<BlockNormedCase>(types, 70, 768, rows, row_class, epilogue));
      }
    }
  }
  // Janus-Pro 1B: q, k and v; gates and what they gate; down; the image head.
  for (const std::vector<DType>& types : alone) {
    for (const auto& [out, in] : {std::pair{6144, 2048}, {11264, 2048}, {2048, 5632}, {16384, 2048}}) {
      for (const int64_t rows : {2, 12, 32}) {
        add(types, out, in, rows, kBF16, RowClass::kDecode, Epilogue::kNone);
        cases.back()->published = true;
      }
    }
  }
}

}  // namespace bifrons::op_matrix
