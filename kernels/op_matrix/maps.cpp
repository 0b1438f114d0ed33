// Upsample2x, UnfoldPatches, NearestCodeword, ToBytes.
#include <algorithm>

#include "kernels/op_matrix/case.h"

namespace bifrons::op_matrix {
namespace {

struct UpsampleCase : Case {
  Shape dims;
  DType type;

  UpsampleCase(Shape s, DType t) : dims(s), type(t) {
    op = "Upsample2x";
    shape = std::string(NameOf(t)) + " " + s.ToString();
    bytes = 5.0 * static_cast<double>(BytesOf(t, s));
  }
  Numbers X() const { return Normals(type, dims, 1); }
  Shape Doubled() const { return {2 * dims[0], 2 * dims[1], dims[2]}; }
  void Place(Stage& stage) const override {
    const View in = stage.In(X().view()), out = stage.Out(type, Doubled());
    stage.op = [=](Queue& queue) { queue.Upsample2x(in, out); };
  }
  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    const Numbers x = X();
    const Numbers wanted(type, Doubled(), [&](int64_t i) {
      const int64_t channel = i % dims[2], column = i / dims[2] % (2 * dims[1]),
                    line = i / dims[2] / (2 * dims[1]);
      return x[(line / 2 * dims[1] + column / 2) * dims[2] + channel];
    });
    return SameBytes(got[0].view(), wanted.view());
  }
};

struct UnfoldCase : Case {
  int64_t channels, height, width, patch;

  UnfoldCase(int64_t c, int64_t h, int64_t w, int64_t p) : channels(c), height(h), width(w), patch(p) {
    op = "UnfoldPatches";
    shape = Shape{c, h, w}.ToString() + " by " + std::to_string(p);
    bytes = 8.0 * static_cast<double>(Rows().elements());
  }
  Shape Rows() const { return {(height / patch) * (width / patch), channels * patch * patch}; }
  Numbers Picture() const { return Normals(DType::kF32, {channels, height, width}, 1); }
  void Place(Stage& stage) const override {
    const View picture = stage.In(Picture().view()), rows = stage.Out(DType::kF32, Rows());
    stage.op = [=, p = patch](Queue& queue) { queue.UnfoldPatches(picture, p, rows); };
  }
  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    const Numbers picture = Picture();
    const Numbers wanted(DType::kF32, Rows(), [&](int64_t i) {
      const int64_t row = i / Rows()[1], across = width / patch;
      const int64_t channel = i % Rows()[1] / (patch * patch), y = i / patch % patch, x = i % patch;
      const int64_t line = row / across * patch + y, column = row % across * patch + x;
      return picture[(channel * height + line) * width + column];
    });
    return SameBytes(got[0].view(), wanted.view());
  }
};

struct NearestCodewordCase : Case {
  int64_t rows, dim, size;

  NearestCodewordCase(int64_t r, int64_t d, int64_t s) : rows(r), dim(d), size(s) {
    op = "NearestCodeword";
    shape = std::to_string(r) + " rows of " + std::to_string(d) + " among " + std::to_string(s);
    macs = static_cast<double>(r * d * s);
    bytes = 4.0 * static_cast<double>(d * s);
  }

  // The last row has no length.
  Numbers Z() const {
    Random random(1);
    return {DType::kF32, {rows, dim}, [&](int64_t i) {
              const float x = random.Normal();
              return rows > 1 && i / dim == rows - 1 ? 0 : x;
            }};
  }
  // Unit vectors, every third one a second time, one place on.
  Numbers Codebook() const {
    const Numbers directions = Normals(DType::kF32, {size, dim}, 2);
    return {DType::kF32, {dim, size}, [&](int64_t i) {
              const int64_t j = i / size, column = i % size;
              const int64_t code = column % 3 == 1 ? column - 1 : column;
              double squares = 0;
              for (int64_t k = 0; k < dim; k++)
                squares += directions[code * dim + k] * directions[code * dim + k];
              return directions[code * dim + j] / std::sqrt(squares);
            }};
  }
  Numbers Squares(const Numbers& codebook) const {
    return {DType::kF32, {size}, [&](int64_t i) {
              const float* numbers = codebook.view().as<float>();
              float sum = 0;
              for (int64_t j = 0; j < dim; j++) sum += numbers[j * size + i] * numbers[j * size + i];
              return sum;
            }};
  }

  void Place(Stage& stage) const override {
    const Numbers codebook = Codebook();
    const View z = stage.In(Z().view()), book = stage.In(codebook.view());
    const View squares = stage.In(Squares(codebook).view()), codes = stage.Out(DType::kI32, {rows});
    stage.op = [=](Queue& queue) { queue.NearestCodeword(z, book, squares, codes); };
  }

  // The code's distance may exceed the least by what both are rounded by: dim roundings of each sum and a few
  // more, all of numbers below z² + e² + 2Σ|z||e|. Of equals it must be the first.
  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    const Numbers z = Z(), codebook = Codebook(), squares = Squares(codebook);
    double worst = 0;
    for (int64_t r = 0; r < rows; r++) {
      double length = 0;
      for (int64_t j = 0; j < dim; j++) length += z[r * dim + j] * z[r * dim + j];
      length = std::max(std::sqrt(length), 1e-12);
      const auto distance = [&](int64_t code, bool sizes) {
        double own = 0, dot = 0;
        for (int64_t j = 0; j < dim; j++) {
          const double x = z[r * dim + j] / length, product = x * codebook[j * size + code];
          own += x * x, dot += sizes ? -std::fabs(product) : product;
        }
        return own + squares[code] - 2 * dot;
      };
      const int32_t code = got[0].as<int32_t>()[r];
      if (code < 0 || code >= size || (code % 3 == 1 && code > 0)) return kWrong;
      double least = kWrong;
      for (int64_t i = 0; i < size; i++) least = std::min(least, distance(i, false));
      const double allowed = 2 * (static_cast<double>(dim) + 8) * kEpsilon * distance(code, true);
      worst = Worse(worst, Share(distance(code, false), least, allowed));
    }
    return worst;
  }
};

struct ToBytesCase : Case {
  Shape dims;

  explicit ToBytesCase(Shape s) : dims(s) {
    op = "ToBytes";
    shape = s.ToString();
    bytes = 5.0 * static_cast<double>(s.elements());
  }
  // Also the last float below a step and the first at it, what is beyond −1…1, and NaN.
  Numbers X() const {
    Random random(1);
    return {DType::kF32, dims, [&](int64_t i) -> float {
              constexpr float kEnds[] = {-1,   1,  NAN, INFINITY, -INFINITY, -1.0000001f,
                                         1.5f, -2, 0,   -0.0f,    0.9999999f};
              if (i < std::ssize(kEnds)) return kEnds[i];
              const float step = static_cast<float>(random.Below(257)) / 255 * 2 - 1;
              if (i % 3 == 0) return step;
              return i % 3 == 1 ? std::nextafter(step, random.Uniform(-2, 2)) : random.Normal();
            }};
  }
  void Place(Stage& stage) const override {
    const View in = stage.In(X().view()), out = stage.Out(DType::kU8, dims);
    stage.op = [=](Queue& queue) { queue.ToBytes(in, out); };
  }
  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    const Numbers x = X();
    const Numbers wanted(DType::kU8, dims, [&](int64_t i) {
      const float value = (static_cast<float>(x[i]) + 1.0f) / 2.0f * 255.0f;
      return value > 0 ? std::trunc(std::min(value, 255.0f)) : 0.0f;
    });
    return SameBytes(got[0].view(), wanted.view());
  }
};

}  // namespace

void AddMapCases(Cases& cases) {
  for (const DType type : {DType::kF32, DType::kBF16}) {
    for (const Shape& dims : {Shape{1, 1, 1}, Shape{3, 5, 7}, Shape{24, 24, 96}, Shape{17, 2, 33}})
      cases.push_back(std::make_unique<UpsampleCase>(dims, type));
    cases.push_back(std::make_unique<UpsampleCase>(Shape{192, 192, 128}, type));
    cases.back()->published = true;
  }
  constexpr struct {
    int64_t channels, height, width, patch;
  } kPictures[] = {{3, 48, 48, 16}, {1, 1, 1, 1}, {3, 37, 50, 7}, {2, 9, 8, 9}, {4, 14, 30, 5}};
  for (const auto& [channels, height, width, patch] : kPictures)
    cases.push_back(std::make_unique<UnfoldCase>(channels, height, width, patch));
  constexpr struct {
    int64_t rows, dim, size;
  } kCodebooks[] = {{1, 1, 1}, {9, 5, 50}, {31, 8, 255}, {64, 8, 1024}, {7, 33, 257}};
  for (const auto& [rows, dim, size] : kCodebooks)
    cases.push_back(std::make_unique<NearestCodewordCase>(rows, dim, size));
  for (const Shape& dims : {Shape{1, 1, 3}, Shape{13, 17, 3}, Shape{64, 48, 3}})
    cases.push_back(std::make_unique<ToBytesCase>(dims));

  const auto publish = [&](std::unique_ptr<Case> one) {
    one->published = true;
    cases.push_back(std::move(one));
  };
  publish(std::make_unique<UnfoldCase>(3, 384, 384, 16));
  publish(std::make_unique<NearestCodewordCase>(576, 8, 16384));
  publish(std::make_unique<ToBytesCase>(Shape{384, 384, 3}));
}

}  // namespace bifrons::op_matrix
