// Numbers brought, copied and looked up: exact, whatever the views.
#include <algorithm>
#include <cstring>

#include "kernels/op_matrix/case.h"
#include "src/base/blocks.h"

namespace bifrons::op_matrix {
namespace {

std::string Describe(DType type, Shape shape, Margins margins) {
  std::string text = std::string(NameOf(type)) + " " + shape.ToString();
  if (margins.left + margins.right > 0) {
    text += " between columns " + std::to_string(margins.left) + "|" + std::to_string(margins.right);
  }
  return text;
}

double Traffic(DType type, const Shape& shape) { return static_cast<double>(BytesOf(type, shape)); }

// Numbers of every kind: halfway between two of bf16, infinite, subnormal, NaN; integers where those are
// asked for.
Numbers Mixed(DType type, Shape shape, uint64_t seed) {
  constexpr float kSpecial[] = {0.0f,          -0.0f,      1 + 0x1p-8f,       1 + 0x3p-8f,  -1 - 0x1p-8f,
                                1 + 0x1.1p-8f, 3.3895e38f, -INFINITY,         INFINITY,     1e-40f,
                                -1e-45f,       NAN,        3.4028234663e+38f, 1 + 0x1.fp-8f};
  Random random(seed);
  return {type, shape, [&](int64_t i) {
            if (type == DType::kU8) return static_cast<float>(random.Below(256));
            if (type == DType::kI32) return static_cast<float>(random.Below(1 << 20) - (1 << 19));
            return i % 3 == 1 ? kSpecial[i / 3 % std::ssize(kSpecial)] : random.Normal();
          }};
}

// What a number of one type is in another.
Numbers Converted(const Numbers& from, DType type) {
  return {type, from.shape(), [&](int64_t i) { return from[i]; }};
}

// From a view with some margins into one with others, perhaps of another type. Also what Upload and Download
// do: both ends come and go by them.
struct CopyCase : Case {
  DType from_type, to_type;
  Shape dims;
  Margins from_margins, to_margins;

  CopyCase(DType from, DType to, Shape s, Margins a, Margins b)
      : from_type(from), to_type(to), dims(s), from_margins(a), to_margins(b) {
    op = "Copy";
    shape = Describe(from, s, a) + " to " + Describe(to, s, b);
    bytes = Traffic(from, s) + Traffic(to, s);
  }
  void Place(Stage& stage) const override {
    const View from = stage.In(Mixed(from_type, dims, 1).view(), from_margins);
    const View to = stage.Out(to_type, dims, to_margins);
    stage.op = [=](Queue& queue) { queue.Copy(from, to); };
  }
  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    return SameBytes(got[0].view(), Converted(Mixed(from_type, dims, 1), to_type).view());
  }
};

// Whole views, of any stride and of rows of any rank, up and down again.
struct UploadCase : Case {
  DType type;
  Shape dims;
  Margins margins;

  UploadCase(DType t, Shape s, Margins m) : type(t), dims(s), margins(m) {
    op = "Upload";
    shape = Describe(t, s, m);
    bytes = Traffic(t, s);
  }
  void Place(Stage& stage) const override {
    const View to = stage.Out(type, dims, margins), again = stage.Out(type, dims);
    const auto numbers = std::make_shared<Numbers>(Mixed(type, dims, 2));
    stage.op = [=](Queue& queue) { queue.Upload(numbers->view(), to); };
    stage.look = [=](Queue& queue) {
      const Tensor fetched = queue.Fetch(to);
      queue.Upload(fetched.view(), again);  // it may go at once
    };
  }
  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    const Numbers numbers = Mixed(type, dims, 2);
    return Worse(SameBytes(got[0].view(), numbers.view()), SameBytes(got[1].view(), numbers.view()));
  }
};

struct CopyRowsCase : Case {
  DType type;
  int64_t rows, width, count;
  Margins from_margins, to_margins;

  CopyRowsCase(DType t, int64_t r, int64_t w, int64_t n, Margins a, Margins b)
      : type(t), rows(r), width(w), count(n), from_margins(a), to_margins(b) {
    op = "CopyRows";
    shape = std::to_string(n) + " of " + Describe(t, {r, w}, a) + " to " + Describe(t, {n, w}, b);
    bytes = 2 * Traffic(t, {n, w});
  }
  std::vector<int32_t> Rows() const {  // repeated, left out, in any order
    Random random(3);
    std::vector<int32_t> list(static_cast<size_t>(count));
    for (int32_t& row : list) row = static_cast<int32_t>(random.Below(rows));
    return list;
  }
  void Place(Stage& stage) const override {
    const View from = stage.In(Mixed(type, {rows, width}, 4).view(), from_margins);
    const View to = stage.Out(type, {count, width}, to_margins);
    stage.op = [=, list = Rows()](Queue& queue) { queue.CopyRows(from, list, to); };
  }
  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    const Numbers numbers = Mixed(type, {rows, width}, 4);
    const std::vector<int32_t> list = Rows();
    const Numbers wanted(type, {count, width}, [&](int64_t i) {
      return numbers[list[static_cast<size_t>(i / width)] * width + i % width];
    });
    return SameBytes(got[0].view(), wanted.view());
  }
};

struct FillCase : Case {
  DType type;
  Shape dims;
  Margins margins;
  float value;

  FillCase(DType t, Shape s, Margins m, float v) : type(t), dims(s), margins(m), value(v) {
    op = "Fill";
    shape = Describe(t, s, m) + " with " + ToText(v);
    bytes = Traffic(t, s);
  }
  void Place(Stage& stage) const override {
    const View to = stage.Out(type, dims, margins);
    stage.op = [to, x = value](Queue& queue) { queue.Fill(to, x); };
  }
  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    return SameBytes(got[0].view(), Numbers(type, dims, [&](int64_t) { return value; }).view());
  }
};

// Rows [size, width] of a table, in blocks where the type has such.
Tensor TableRows(DType type, int64_t size, int64_t width) {
  const Numbers numbers = Weights(IsQuantized(type) ? DType::kF32 : type, {size, width}, 6);
  Tensor rows(type, {size, width});
  if (IsQuantized(type)) {
    Quantize(numbers.view().as<float>(), size * width, type, rows.data());
  } else {
    std::memcpy(rows.data(), numbers.view().data, rows.bytes());
  }
  return rows;
}

struct LookUpCase : Case {
  DType stored, type;
  int64_t size, width, rows;
  Margins margins;  // of the ids

  LookUpCase(DType s, DType t, int64_t table, int64_t w, int64_t r, Margins m)
      : stored(s), type(t), size(table), width(w), rows(r), margins(m) {
    op = "LookUp";
    shape = std::to_string(r) + " of " + Describe(s, {table, w}, {}) + " as " + NameOf(t) +
            (m.left + m.right > 0 ? ", ids in a column" : "");
    bytes = Traffic(s, {r, w}) + Traffic(t, {r, w});
  }
  Numbers Ids() const {
    Random random(5);
    return {DType::kI32, {rows, 1}, [&](int64_t i) -> int64_t {
              if (i == 1) return -1;  // nobody's token
              return i == 2 ? size - 1 : random.Below(size);
            }};
  }
  void Place(Stage& stage) const override {
    const auto& numbers = stage.Keep(std::make_unique<Tensor>(TableRows(stored, size, width)));
    const auto& table = stage.Keep(stage.device().PackTable(numbers.view()));
    const View ids = stage.In(Ids().view(), margins), y = stage.Out(type, {rows, width});
    stage.op = [&table, ids, y](Queue& queue) { queue.LookUp(table, ids, y); };
  }
  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    const Tensor table = TableRows(stored, size, width);
    std::vector<float> numbers;
    if (IsQuantized(stored)) {
      numbers.resize(static_cast<size_t>(size * width));
      Dequantize(table.data(), stored, size * width, numbers.data());
    } else {
      numbers = ToFloats(table.view());
    }
    const Numbers ids = Ids();
    const Numbers wanted(type, {rows, width}, [&](int64_t i) {
      const auto id = static_cast<int64_t>(std::max(0.0, ids[i / width]));
      return numbers[static_cast<size_t>(id * width + i % width)];
    });
    return SameBytes(got[0].view(), wanted.view());
  }
};

}  // namespace

void AddCopyCases(Cases& cases) {
  constexpr Margins kNone, kBoth{3, 5}, kRight{0, 64};
  for (const DType type : {DType::kF32, DType::kBF16, DType::kI32, DType::kU8}) {
    cases.push_back(std::make_unique<UploadCase>(type, Shape{1}, kNone));
    cases.push_back(std::make_unique<UploadCase>(type, Shape{7, 13}, kBoth));
    cases.push_back(std::make_unique<UploadCase>(type, Shape{3, 5, 7}, kRight));
    for (const auto& [from, to] : {std::pair(kNone, kNone), std::pair(kBoth, kRight)}) {
      cases.push_back(std::make_unique<CopyCase>(type, type, Shape{9, 31}, from, to));
      cases.push_back(std::make_unique<CopyRowsCase>(type, 11, 37, 17, from, to));
    }
    if (type == DType::kU8) continue;
    cases.push_back(std::make_unique<FillCase>(type, Shape{1, 1}, kNone, 0.0f));
    cases.push_back(std::make_unique<FillCase>(type, Shape{5, 17}, kBoth, -3.0f));
  }
  for (const auto& [from, to] :
       {std::pair(DType::kF32, DType::kBF16), std::pair(DType::kBF16, DType::kF32)}) {
    cases.push_back(std::make_unique<CopyCase>(from, to, Shape{1, 1}, kNone, kNone));
    cases.push_back(std::make_unique<CopyCase>(from, to, Shape{9, 31}, kBoth, kRight));
    cases.push_back(std::make_unique<CopyCase>(from, to, Shape{5, 7, 33}, kNone, kNone));
  }
  for (const DType stored : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const DType type : {DType::kF32, DType::kBF16}) {
      cases.push_back(std::make_unique<LookUpCase>(stored, type, 11, 37, 5, kNone));
      cases.push_back(std::make_unique<LookUpCase>(stored, type, 3, 2048, 33, Margins{1, 2}));
    }
  }
  for (const DType stored : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_K}) {
    for (const DType type : {DType::kF32, DType::kBF16})
      cases.push_back(std::make_unique<LookUpCase>(stored, type, 7, 512, 5, Margins{1, 2}));
  }
  const auto published = [&](std::unique_ptr<Case> one) {
    one->published = true;
    cases.push_back(std::move(one));
  };
  published(std::make_unique<CopyCase>(DType::kF32, DType::kBF16, Shape{24, 24, 256}, kNone, kNone));
  published(std::make_unique<CopyRowsCase>(DType::kF32, 32, 2048, 64, kNone, kNone));
  published(std::make_unique<LookUpCase>(DType::kBF16, DType::kF32, 16384, 8, 576, kNone));
  published(std::make_unique<LookUpCase>(DType::kBF16, DType::kF32, 102400, 2048, 32, kNone));
}

}  // namespace bifrons::op_matrix
