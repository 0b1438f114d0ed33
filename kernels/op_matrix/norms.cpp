// RmsNorm, LayerNorm and GroupNorm against f64.
#include <algorithm>

#include "kernels/op_matrix/case.h"

namespace bifrons::op_matrix {
namespace {

// ---- of rows ------------------------------------------------------------------------------------

// x and y are columns of wider matrices; or y is x.
struct RowNormCase : Case {
  int64_t rows, dim;
  bool in_place;

  RowNormCase(const char* name, int64_t r, int64_t d, bool place) : rows(r), dim(d), in_place(place) {
    op = name;
    shape = std::to_string(r) + "×" + std::to_string(d) + (in_place ? " in place" : "");
    bytes = 8.0 * static_cast<double>(rows * dim);
  }
  Numbers Weight() const { return Normals(DType::kF32, {dim}, 2); }
  Numbers Bias() const { return Normals(DType::kF32, {dim}, 3); }
};

struct RmsNormCase : RowNormCase {
  RmsNormCase(int64_t r, int64_t d, bool place) : RowNormCase("RmsNorm", r, d, place) {}

  Numbers X() const { return Normals(DType::kF32, {rows, dim}, 1); }
  void Place(Stage& stage) const override {
    const View x = in_place ? stage.InOut(X().view(), {2, 1}) : stage.In(X().view(), {2, 1});
    const View y = in_place ? x : stage.Out(DType::kF32, {rows, dim}, {0, 4});
    const View weight = stage.In(Weight().view());
    stage.op = [=](Queue& queue) { queue.RmsNorm(x, weight, kEps, y); };
  }
  // A sum of squares of dim terms, whose relative error is halved by the root, and a few roundings.
  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    const Numbers x = X(), weight = Weight();
    double worst = 0;
    for (int64_t r = 0; r < rows; r++) {
      double squares = 0;
      for (int64_t i = 0; i < dim; i++) squares += x[r * dim + i] * x[r * dim + i];
      const double n = static_cast<double>(dim), scale = 1 / std::sqrt(squares / n + kEps);
      for (int64_t i = 0; i < dim; i++) {
        const double wanted = x[r * dim + i] * scale * weight[i];
        worst = Worse(worst, Share(got[0].as<float>()[r * dim + i], wanted,
                                   (n / 2 + 8) * kEpsilon * std::fabs(wanted)));
      }
    }
    return worst;
  }
};

struct LayerNormCase : RowNormCase {
  float shift;

  LayerNormCase(int64_t r, int64_t d, float s, bool place) : RowNormCase("LayerNorm", r, d, place), shift(s) {
    if (shift != 0) shape += " around " + ToText(shift);
  }
  Numbers X() const { return Normals(DType::kF32, {rows, dim}, 1, 1, shift); }
  void Place(Stage& stage) const override {
    const View x = in_place ? stage.InOut(X().view(), {2, 1}) : stage.In(X().view(), {2, 1});
    const View y = in_place ? x : stage.Out(DType::kF32, {rows, dim}, {0, 4});
    const View weight = stage.In(Weight().view()), bias = stage.In(Bias().view());
    stage.op = [=](Queue& queue) { queue.LayerNorm(x, weight, bias, kEps, y); };
  }
  // The mean is a sum of dim terms: its error moves every value, and the squares by its own square.
  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    const Numbers x = X(), weight = Weight(), bias = Bias();
    double worst = 0;
    for (int64_t r = 0; r < rows; r++) {
      double sum = 0, sizes = 0, squares = 0;
      for (int64_t i = 0; i < dim; i++) sum += x[r * dim + i], sizes += std::fabs(x[r * dim + i]);
      const double n = static_cast<double>(dim), mean = sum / n;
      for (int64_t i = 0; i < dim; i++) squares += (x[r * dim + i] - mean) * (x[r * dim + i] - mean);
      const double inverse = 1 / std::sqrt(squares / n + kEps);
      const double mean_error = (n + 2) * kEpsilon * sizes / n;
      const double scale_error = (n + 8) * kEpsilon + mean_error * mean_error * inverse * inverse;
      for (int64_t i = 0; i < dim; i++) {
        const double slope = inverse * std::fabs(weight[i]), v = x[r * dim + i] - mean;
        const double size = std::fabs(v) * slope, wanted = v * inverse * weight[i] + bias[i];
        const double allowed = scale_error * size + mean_error * slope +
                               4 * kEpsilon * (size + std::fabs(bias[i]) + std::fabs(wanted)) +
                               kEpsilon * std::fabs(x[r * dim + i]) * slope;
        worst = Worse(worst, Share(got[0].as<float>()[r * dim + i], wanted, allowed));
      }
    }
    return worst;
  }
};

// ---- of maps ------------------------------------------------------------------------------------

struct GroupNormCase : Case {
  struct Map {
    int64_t height, width, channels;
    int groups;
    float scale, shift;
  };
  Map map;
  DType type;
  bool silu, in_place;

  GroupNormCase(const Map& m, DType t, bool s, bool place) : map(m), type(t), silu(s), in_place(place) {
    op = "GroupNorm";
    shape = dims().ToString() + " in " + std::to_string(m.groups) + " " + NameOf(t) + (s ? " silu" : "") +
            (place ? " in place" : "") + ", numbers " + ToText(m.shift) + " ± " + ToText(m.scale);
    bytes = 2.0 * static_cast<double>(BytesOf(t, dims()));
  }

  Shape dims() const { return {map.height, map.width, map.channels}; }
  Numbers X() const { return Normals(type, dims(), 1, map.scale, map.shift); }
  Numbers Gamma() const { return Normals(DType::kF32, {map.channels}, 2, 0.5f, 1); }
  Numbers Beta() const { return Normals(DType::kF32, {map.channels}, 3); }

  void Place(Stage& stage) const override {
    const View in = in_place ? stage.InOut(X().view()) : stage.In(X().view());
    const View out = in_place ? in : stage.Out(type, dims());
    const View gamma = stage.In(Gamma().view()), beta = stage.In(Beta().view());
    stage.op = [=, groups = map.groups, with_silu = silu](Queue& queue) {
      queue.GroupNorm(in, gamma, beta, groups, kEps, with_silu, out);
    };
  }

  // x·s + t with s = γ/σ, t = β − μ·s: three roundings, each relative to |x·s| or |t|; the mean itself is
  // known to a few roundings of the mean |x|. Swish has slope below 1.1 and adds a few roundings of its own.
  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    const Numbers x = X(), gamma = Gamma(), beta = Beta();
    const int64_t pixels = map.height * map.width, width = map.channels / map.groups;
    double worst = 0;
    for (int64_t first = 0; first < map.channels; first += width) {
      double sum = 0, squares = 0, sizes = 0;
      const auto each = [&](const auto& body) {
        for (int64_t p = 0; p < pixels; p++) {
          for (int64_t c = first; c < first + width; c++) body(p * map.channels + c, c);
        }
      };
      const double n = static_cast<double>(pixels * width);
      each([&](int64_t i, int64_t) { sum += x[i], sizes += std::fabs(x[i]); });
      const double mean = sum / n;
      each([&](int64_t i, int64_t) { squares += (x[i] - mean) * (x[i] - mean); });
      const double inverse = 1 / std::sqrt(squares / n + kEps);
      each([&](int64_t i, int64_t c) {
        const double normal = (x[i] - mean) * inverse * gamma[c] + beta[c];
        const double wanted = silu ? normal / (1 + std::exp(-normal)) : normal;
        const double size =
            (std::fabs(x[i]) + sizes / n) * inverse * std::fabs(gamma[c]) + std::fabs(beta[c]);
        const double allowed = 8 * kEpsilon * size + 16 * kEpsilon * std::fabs(wanted) + 1e-36;
        worst = Worse(worst, Share(NumberAt(got[0].view(), i), wanted, allowed, type));
      });
    }
    return worst;
  }
};

}  // namespace

void AddNormCases(Cases& cases) {
  for (const int64_t rows : {1, 2, 5, 40}) {
    for (const bool in_place : {false, true}) {
      for (const int64_t dim : {1, 3, 17, 64, 127, 2048})
        cases.push_back(std::make_unique<RmsNormCase>(rows, dim, in_place));
      for (const int64_t dim : {1, 3, 17, 64, 127, 1024, 1152}) {
        for (const float shift : {0.0f, 100.0f})
          cases.push_back(std::make_unique<LayerNormCase>(rows, dim, shift, in_place));
      }
    }
  }
  using Map = GroupNormCase::Map;
  for (const Map& map :
       {Map{1, 1, 32, 32, 1, 0}, Map{1, 1, 96, 32, 1, 3}, Map{13, 7, 96, 32, 2, 1},
        Map{31, 29, 64, 32, 1, 100}, Map{17, 19, 21, 3, 1, -5}, Map{24, 24, 512, 32, 1e-3f, 0},
        Map{3, 5, 7, 1, 30, 0}, Map{16, 16, 32, 32, 0, 2}, Map{40, 33, 128, 32, 1e4f, 0}}) {
    for (const DType type : {DType::kF32, DType::kBF16}) {
      for (const bool silu : {false, true}) {
        for (const bool in_place : {false, true})
          cases.push_back(std::make_unique<GroupNormCase>(map, type, silu, in_place));
      }
    }
  }
  const auto publish = [&](std::unique_ptr<Case> one) {
    one->published = true;
    cases.push_back(std::move(one));
  };
  for (const int64_t dim : {2048, 4096}) publish(std::make_unique<RmsNormCase>(32, dim, false));
  publish(std::make_unique<LayerNormCase>(576, 1024, 0, false));
  for (const DType type : {DType::kF32, DType::kBF16}) {  // the VQ decoder's first and last
    publish(std::make_unique<GroupNormCase>(Map{24, 24, 512, 32, 1, 0}, type, true, false));
    publish(std::make_unique<GroupNormCase>(Map{384, 384, 128, 32, 1, 0}, type, true, false));
  }
}

}  // namespace bifrons::op_matrix
