// Convolve against the reference device, whose sums are f64.
#include <algorithm>

#include "kernels/op_matrix/case.h"

namespace bifrons::op_matrix {
namespace {

// Alone, with a residual, with a residual that is the output; of bf16 maps also to f32. Measured is the
// third.
struct ConvolutionCase : Case {
  ConvShape conv;
  DType stored;

  ConvolutionCase(const ConvShape& c, DType s) : conv(c), stored(s) {
    op = "Convolve";
    shape = std::to_string(c.in_channels) + "→" + std::to_string(c.out_channels) + " " +
            std::to_string(c.height) + "×" + std::to_string(c.width) + " k" + std::to_string(c.kernel) +
            " /" + std::to_string(c.stride) + " " + NameOf(c.type) + " stored " + NameOf(s);
    macs = static_cast<double>(c.macs());
    bytes = static_cast<double>(BytesOf(c.type, c.in())) +
            2.0 * static_cast<double>(BytesOf(c.output_type, c.out()));
  }

  int64_t terms() const { return conv.in_channels * conv.kernel * conv.kernel; }
  Numbers Weight() const {
    const float scale = 1 / std::sqrt(static_cast<float>(terms()));
    return Normals(stored, {conv.out_channels, conv.in_channels, conv.kernel, conv.kernel}, 1, scale);
  }
  Numbers Bias() const { return Normals(stored, {conv.out_channels}, 2); }
  Numbers X() const { return Normals(conv.type, conv.in(), 3); }
  Numbers Residual(DType type) const { return Normals(type, conv.out(), 4); }

  void Place(Stage& stage) const override {
    const View in = stage.In(X().view());
    std::vector<std::function<void(Queue&)>> runs;
    for (const ConvShape& shape_of_output : Outputs()) {
      const DType type = shape_of_output.output_type;
      const Conv2d& packed =
          stage.Keep(stage.device().PackConv(shape_of_output, Weight().view(), Bias().view()));
      const View in_place = stage.InOut(Residual(type).view());
      runs.push_back([=, &packed](Queue& queue) { queue.Convolve(packed, in, in_place, in_place); });
      if (published) continue;
      const View residual = stage.In(Residual(type).view());
      const View alone = stage.Out(type, conv.out()), added = stage.Out(type, conv.out());
      runs.push_back([=, &packed](Queue& queue) {
        queue.Convolve(packed, in, {}, alone);
        queue.Convolve(packed, in, residual, added);
      });
    }
    stage.op = [runs](Queue& queue) {
      for (const auto& run : runs) run(queue);
    };
  }

  double WorstShare(const std::vector<Tensor>& got, Device& reference) const override {
    ConvShape wide = conv;
    wide.output_type = DType::kF32;
    const Tensor wanted = Run(reference, wide, Weight(), Bias(), X());
    // Σ|w||x| + |b|: what rounding errors are relative to.
    wide.type = DType::kF32;
    const Numbers x = X();
    const Tensor sizes = Run(reference, wide, Weight().Absolute(), Bias().Absolute(),
                             {DType::kF32, conv.in(), [&](int64_t i) { return std::fabs(x[i]); }});
    double worst = 0;
    for (size_t result = 0; result < got.size(); result++) {
      const DType type = got[result].dtype();
      const Numbers residual = Residual(type);
      Average average;
      for (int64_t i = 0; i < conv.out().elements(); i++) {
        const double old = result % 3 == 1 ? 0 : residual[i];  // in place, alone, added
        const double allowed = static_cast<double>(terms() + 3) * kEpsilon *
                               (static_cast<double>(sizes.as<float>()[i]) + std::fabs(old));
        const double y = NumberAt(got[result].view(), i), value = wanted.as<float>()[i] + old;
        worst = Worse(worst, Share(y, value, allowed, type));
        average.Add(y - value, allowed);
      }
      if (type == DType::kF32) worst = Worse(worst, average.Share(static_cast<double>(terms() + 3)));
    }
    return worst;
  }

  std::vector<ConvShape> Outputs() const {
    std::vector<ConvShape> shapes{conv};
    if (published || conv.type == DType::kF32) return shapes;
    shapes.push_back(conv);
    shapes[1].output_type = DType::kF32;
    return shapes;
  }

  static Tensor Run(Device& device, const ConvShape& shape, const Numbers& weight, const Numbers& bias,
                    const Numbers& x) {
    Stage stage(device);
    const Conv2d& packed = stage.Keep(device.PackConv(shape, weight.view(), bias.view()));
    const View in = stage.In(x.view()), out = stage.Out(DType::kF32, shape.out());
    stage.op = [=, &packed](Queue& queue) { queue.Convolve(packed, in, {}, out); };
    return std::move(stage.Run().results[0]);
  }
};

// 1 + 2⁻¹² times 1, minus 1: weights rounded to bf16 would give exactly 0.
struct FineWeightsCase : Case {
  DType output_type;

  explicit FineWeightsCase(DType t) : output_type(t) {
    op = "Convolve";
    shape = std::string("weights that bf16 cannot hold, bf16→") + NameOf(t);
  }
  void Place(Stage& stage) const override {
    const auto constant = [](DType type, Shape dims, double x) {
      return Numbers(type, dims, [x](int64_t) { return x; });
    };
    const ConvShape conv{.in_channels = 1,
                         .out_channels = 4,
                         .height = 1,
                         .width = 1,
                         .kernel = 1,
                         .type = DType::kBF16,
                         .output_type = output_type};
    const Conv2d& packed = stage.Keep(
        stage.device().PackConv(conv, constant(DType::kF32, {4, 1, 1, 1}, 1 + 0x1p-12).view(), {}));
    const View in = stage.In(constant(DType::kBF16, {1, 1, 1}, 1).view());
    const View residual = stage.In(constant(output_type, {1, 1, 4}, -1).view());
    const View out = stage.Out(output_type, {1, 1, 4});
    stage.op = [=, &packed](Queue& queue) { queue.Convolve(packed, in, residual, out); };
  }
  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    double worst = 0;
    for (int64_t i = 0; i < 4; i++) worst = Worse(worst, Share(NumberAt(got[0].view(), i), 0x1p-12, 0));
    return worst;
  }
};

struct ConvDims {
  int64_t in, out, height, width;
  int kernel, stride = 1;
};

constexpr ConvDims kOdd[] = {
    {32, 32, 1, 1, 3},
    {96, 64, 7, 13, 3},
    {7, 33, 5, 3, 3},
    {33, 7, 17, 11, 1},
    {3, 32, 16, 16, 3},
    {64, 3, 19, 23, 3},
    {33, 3, 5, 4, 3},
    {7, 3, 1, 1, 3},
    {64, 96, 24, 24, 3},
    {8, 64, 9, 9, 1},
    {128, 3, 9, 33, 1},
    {32, 32, 2, 67, 3},
    {128, 64, 31, 40, 3},
    {1, 1, 3, 3, 3},
    {64, 64, 67, 2, 3},
    {64, 128, 63, 67, 3},
    // The widths of published networks on small maps.
    {512, 512, 6, 5, 3},
    {512, 256, 3, 4, 1},
    {256, 512, 3, 3, 3},
    // Halved, even and odd sides.
    {32, 32, 2, 2, 3, 2},
    {64, 64, 16, 24, 3, 2},
    {96, 64, 7, 13, 3, 2},
    {7, 33, 5, 4, 3, 2},
    {3, 32, 17, 16, 3, 2},
    {64, 3, 8, 9, 3, 2},
    {32, 32, 3, 67, 3, 2},
    {64, 64, 96, 50, 3, 2},
};

// All of the published VQ decoder's, and the encoder's halvings (janus/models/vq_model.py).
constexpr ConvDims kPublished[] = {
    {8, 256, 24, 24, 1},      {256, 512, 24, 24, 3},   {512, 512, 24, 24, 3},   {512, 512, 48, 48, 3},
    {512, 256, 48, 48, 3},    {256, 256, 48, 48, 3},   {512, 256, 48, 48, 1},   {256, 256, 96, 96, 3},
    {256, 256, 192, 192, 3},  {256, 128, 192, 192, 3}, {128, 128, 192, 192, 3}, {256, 128, 192, 192, 1},
    {128, 128, 384, 384, 3},  {128, 3, 384, 384, 3},   {3, 128, 384, 384, 3},   {128, 128, 384, 384, 3, 2},
    {256, 256, 96, 96, 3, 2},
};

void Add(Cases& cases, const ConvDims& c, DType type, DType output_type, DType stored, bool published) {
  cases.push_back(std::make_unique<ConvolutionCase>(
      ConvShape{c.in, c.out, c.height, c.width, c.kernel, c.stride, type, output_type}, stored));
  cases.back()->published = published;
}

}  // namespace

void AddConvolutionCases(Cases& cases) {
  constexpr DType kF32 = DType::kF32, kBF16 = DType::kBF16;
  constexpr int64_t kManyTerms = 20'000'000;  // the reference takes its time
  for (const ConvDims& c : kOdd) {
    const bool large = c.in * c.out * c.height * c.width * c.kernel * c.kernel > kManyTerms;
    for (const DType type : {kF32, kBF16}) {
      Add(cases, c, type, type, kBF16, false);
      if (!large) Add(cases, c, type, type, kF32, false);
    }
  }
  for (const DType type : {kBF16, kF32}) cases.push_back(std::make_unique<FineWeightsCase>(type));
  for (const ConvDims& c : kPublished) {
    for (const DType type : {kF32, kBF16}) Add(cases, c, type, c.out == 3 ? kF32 : type, kBF16, true);
  }
}

}  // namespace bifrons::op_matrix
