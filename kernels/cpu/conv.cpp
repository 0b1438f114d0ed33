#include "kernels/cpu/conv.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/cpu/onednn.h"
#include "kernels/host/memory.h"

namespace bifrons::cpu {
namespace {

using dnnl::memory;

struct CpuConv : Conv2d {
  virtual void Run(Workspace& work, const View& in, const View& residual, const View& out) const = 0;
};

// How the instruction set multiplies bf16.
enum class BF16Products : uint8_t { kNone, kVectors, kTiles };

BF16Products ProductsOf(Isa isa) {
  if (isa == Isa::kAmx) return BF16Products::kTiles;
  return MultipliesBF16(isa) ? BF16Products::kVectors : BF16Products::kNone;
}

std::vector<float> Floats(TensorView t, int64_t n) {
  std::vector<float> values(static_cast<size_t>(n));
  for (int64_t i = 0; i < n && !t.empty(); i++) values[static_cast<size_t>(i)] = ElementAt(t, i);
  return values;
}

// ---- to three channels -------------------------------------------------------------------

// The picture itself: oneDNN pads three output channels to a whole vector and wastes the rest.
struct ConvTo3 : CpuConv {
  std::vector<float> weight;  // [taps, 3, in_channels]
  std::vector<float> bias;    // [3]

  void Run(Workspace& work, const View& in, const View& residual, const View& out) const override {
    const int64_t out_line = shape.width * 3;
    const size_t line = BytesOf(in.type, shape.width * shape.in_channels);
    work.pool.ParallelFor(shape.height, [&](int64_t begin, int64_t end, int part) {
      for (int64_t y = begin; y < end; y++) {
        const void* rows[3] = {};
        for (int k = 0; k < shape.kernel; k++) {
          const int64_t source = y + k - shape.kernel / 2;
          if (source < 0 || source >= shape.height) continue;
          rows[k] = host::Bytes(in) + static_cast<size_t>(source) * line;
        }
        float* target = host::At<float>(out) + y * out_line;
        float* products =
            residual.empty() ? target : work.scratch.Get<float>(Scratch::kProducts, out_line, part);
        work.maps.conv_to_3(rows, in.type, shape.width, shape.in_channels, shape.kernel, weight.data(),
                            bias.data(), products);
        if (residual.empty()) continue;
        const float* add = host::At<float>(residual) + y * out_line;  // it may be the target
        for (int64_t i = 0; i < out_line; i++) target[i] = products[i] + add[i];
      }
    });
  }
};

std::unique_ptr<CpuConv> PackConvTo3(const ConvShape& shape, TensorView weight, TensorView bias) {
  auto conv = std::make_unique<ConvTo3>();
  conv->bias = Floats(bias, 3);
  const int64_t taps = int64_t{shape.kernel} * shape.kernel;
  conv->weight.resize(static_cast<size_t>(taps * 3 * shape.in_channels));
  for (int64_t o = 0; o < 3; o++) {
    for (int64_t c = 0; c < shape.in_channels; c++) {
      for (int64_t t = 0; t < taps; t++) {
        conv->weight[static_cast<size_t>((t * 3 + o) * shape.in_channels + c)] =
            ElementAt(weight, (o * shape.in_channels + c) * taps + t);
      }
    }
  }
  conv->bytes = (conv->weight.size() + conv->bias.size()) * sizeof(float);
  return conv;
}

// ---- Winograd ----------------------------------------------------------------------------

// A quarter of the products, in f32 whatever the maps hold: ahead of oneDNN's direct convolution in f32, and
// in bf16 where there are no tiles (Zen 4, all convolutions of a picture: 2.15 s against 2.63 s on one core).
struct WinogradConv : CpuConv {
  Tensor weight;  // [36, out_channels / kWinogradPanel, in_channels, kWinogradPanel]
  std::vector<float> bias;

  void Run(Workspace& work, const View& in, const View& residual, const View& out) const override {
    const WinogradShape s{shape.height, shape.width, shape.in_channels, shape.out_channels};
    const int64_t tiles = (s.height + 3) / 4 * ((s.width + 3) / 4);
    const int64_t blocks = (tiles + kWinogradTiles - 1) / kWinogradTiles;
    work.pool.ParallelFor(blocks, [&](int64_t begin, int64_t end, int part) {
      const int64_t size = 36 * (kWinogradTiles + 1) * (s.in_channels + s.out_channels);
      float* scratch = work.scratch.Get<float>(Scratch::kProducts, size, part);
      std::fill_n(scratch, size, 0.0f);  // a short last block multiplies what no tile has filled
      for (int64_t b = begin; b < end; b++) {
        const int64_t first = b * kWinogradTiles;
        work.maps.winograd(host::Bytes(in), in.type, s, weight.as<float>(), bias.data(),
                           host::Bytes(residual), first, std::min(kWinogradTiles, tiles - first), scratch,
                           host::Bytes(out));
      }
    });
  }
};

// Worth it where many tiles share the weights, four times as large as they were.
bool SuitsWinograd(const ConvShape& s) {
  constexpr int64_t kMinPixels = 64 * 64, kMaxWeights = 256 * 256;
  return s.kernel == 3 && s.stride == 1 && s.in_channels % kWinogradPanel == 0 &&
         s.out_channels % kWinogradPanel == 0 && s.height * s.width >= kMinPixels &&
         s.in_channels * s.out_channels <= kMaxWeights;
}

std::unique_ptr<CpuConv> PackWinograd(ThreadPool& pool, const ConvShape& shape, TensorView weight,
                                      TensorView bias) {
  auto conv = std::make_unique<WinogradConv>();
  conv->bias = Floats(bias, shape.out_channels);
  conv->weight =
      Tensor(DType::kF32, {36, shape.out_channels / kWinogradPanel, shape.in_channels, kWinogradPanel});
  constexpr double kG[6][3] = {{1.0 / 4, 0, 0},
                               {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                               {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                               {1.0 / 24, 1.0 / 12, 1.0 / 6},
                               {1.0 / 24, -1.0 / 12, 1.0 / 6},
                               {0, 0, 1}};
  float* packed = conv->weight.as<float>();
  pool.ParallelFor(shape.in_channels, [&](int64_t begin, int64_t end, int) {
    for (int64_t c = begin; c < end; c++) {
      for (int64_t o = 0; o < shape.out_channels; o++) {
        double w[9], half[6][3];
        for (int64_t k = 0; k < 9; k++) w[k] = ElementAt(weight, (o * shape.in_channels + c) * 9 + k);
        for (int i = 0; i < 6; i++) {
          for (int j = 0; j < 3; j++)
            half[i][j] = kG[i][0] * w[j] + kG[i][1] * w[3 + j] + kG[i][2] * w[6 + j];
        }
        for (int i = 0; i < 6; i++) {
          for (int j = 0; j < 6; j++) {
            const int64_t panel = (i * 6 + j) * (shape.out_channels / kWinogradPanel) + o / kWinogradPanel;
            packed[(panel * shape.in_channels + c) * kWinogradPanel + o % kWinogradPanel] =
                static_cast<float>(half[i][0] * kG[j][0] + half[i][1] * kG[j][1] + half[i][2] * kG[j][2]);
          }
        }
      }
    }
  });
  conv->bytes = conv->weight.bytes() + conv->bias.size() * sizeof(float);
  return conv;
}

// ---- oneDNN ------------------------------------------------------------------------------

// One primitive serves all stripes of the same height and padding.
struct StripeKind {
  int64_t rows;  // of the output
  int64_t top,
      bottom;  // lines of zeros, where the map's own edge is; elsewhere neighbouring lines are read instead
  memory::desc source, target;
  dnnl::convolution_forward plain, adding;  // `adding` adds to what the target holds
  memory::desc plain_scratch, adding_scratch;
};

struct Stripe {
  int64_t row, rows;     // of the output
  int64_t first, lines;  // of the input
  size_t kind;
};

struct OneDnnConv : CpuConv {
  bool widened;  // bf16 maps, f32 primitives
  memory weight, bias;
  std::vector<StripeKind> kinds;
  std::vector<Stripe> stripes;
  int64_t widest_in = 0, widest_out = 0;  // lines of the highest stripe

  void Execute(Workspace& work, int part, const Stripe& stripe, void* source, void* target, bool add) const {
    const StripeKind& kind = kinds[stripe.kind];
    const memory::desc& scratch = add ? kind.adding_scratch : kind.plain_scratch;
    auto* scratchpad =
        work.scratch.Get<uint8_t>(Scratch::kLibrary, static_cast<int64_t>(scratch.get_size()), part);
    WithOneDnn([&] {
      const dnnl::engine& engine = OneDnnEngine();
      (add ? kind.adding : kind.plain)
          .execute(OneDnnStream(), {{DNNL_ARG_SRC, memory(kind.source, engine, source)},
                                    {DNNL_ARG_WEIGHTS, weight},
                                    {DNNL_ARG_BIAS, bias},
                                    {DNNL_ARG_DST, memory(kind.target, engine, target)},
                                    {DNNL_ARG_SCRATCHPAD, memory(scratch, engine, scratchpad)}});
    });
  }

  // A stripe through f32: lines of the map are widened, the result is rounded where the output is bf16.
  void RunWidened(Workspace& work, int part, const Stripe& stripe, const View& in, const View& residual,
                  const View& out) const {
    const int64_t line_in = shape.width * shape.in_channels,
                  line_out = shape.out_width() * shape.out_channels;
    const int64_t n = stripe.rows * line_out, first = stripe.row * line_out;
    float* wide_in = work.scratch.Get<float>(Scratch::kOperands, widest_in * line_in, part);
    float* wide_out = work.scratch.Get<float>(Scratch::kProducts, widest_out * line_out, part);
    work.maps.widen(host::At<BF16>(in) + stripe.first * line_in, stripe.lines * line_in, wide_in);
    Execute(work, part, stripe, wide_in, wide_out, false);
    if (out.type == DType::kBF16) {
      const BF16* add = residual.empty() ? nullptr : host::At<BF16>(residual) + first;
      work.maps.add_and_round(wide_out, add, n, host::At<BF16>(out) + first);
      return;
    }
    const float* add = residual.empty() ? nullptr : host::At<float>(residual) + first;
    float* target = host::At<float>(out) + first;
    for (int64_t i = 0; i < n; i++) target[i] = add ? wide_out[i] + add[i] : wide_out[i];
  }

  void Run(Workspace& work, const View& in, const View& residual, const View& out) const override {
    const int64_t line_in = shape.width * shape.in_channels,
                  line_out = shape.out_width() * shape.out_channels;
    work.pool.ParallelFor(static_cast<int64_t>(stripes.size()), [&](int64_t begin, int64_t end, int part) {
      const SingleThreaded single_threaded;
      CheckRoomForObjects();
      for (int64_t s = begin; s < end; s++) {
        const Stripe& stripe = stripes[static_cast<size_t>(s)];
        if (widened) {
          RunWidened(work, part, stripe, in, residual, out);
          continue;
        }
        const size_t element = BytesOf(shape.type, 1),
                     offset = static_cast<size_t>(stripe.row * line_out) * element;
        uint8_t* target = host::Bytes(out) + offset;
        if (!residual.empty() && host::Bytes(residual) != host::Bytes(out)) {
          std::memcpy(target, host::Bytes(residual) + offset,
                      static_cast<size_t>(stripe.rows * line_out) * element);
        }
        Execute(work, part, stripe, host::Bytes(in) + static_cast<size_t>(stripe.first * line_in) * element,
                target, !residual.empty());
      }
    });
  }
};

memory::data_type OneDnnType(DType type) {
  return type == DType::kBF16 ? memory::data_type::bf16 : memory::data_type::f32;
}

// Lines of a stripe: a power-of-two share of the map while enough pixels are left for a primitive to run
// well.
int64_t StripeRows(const ConvShape& shape) {
  constexpr int64_t kShares = 8, kMaxPixels = 2048;
  return std::clamp(shape.out_height() / kShares, int64_t{1},
                    std::max<int64_t>(1, kMaxPixels / shape.out_width()));
}

dnnl::convolution_forward::primitive_desc Describe(const ConvShape& shape, const StripeKind& kind,
                                                   const memory::desc& weight, const memory::desc& bias,
                                                   bool add) {
  // Columns right of the map that the last output's window covers; none where an odd width is halved.
  const int64_t right = (shape.out_width() - 1) * shape.stride + shape.kernel - shape.padding() - shape.width;
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (add) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  const memory::dims strides = {shape.stride, shape.stride};
  const memory::dims padding_before = {kind.top, shape.padding()}, padding_after = {kind.bottom, right};
  const dnnl::convolution_forward::desc description(
      dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct, kind.source, weight, bias,
      kind.target, strides, padding_before, padding_after);
  return {description, attributes, OneDnnEngine()};
}

bool RepresentableInBF16(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float x) { return ToFloat(ToBF16(x)) == x; });
}

std::unique_ptr<CpuConv> PackOneDnn(bool native_bf16, const ConvShape& shape, TensorView weight,
                                    TensorView bias) {
  auto conv = std::make_unique<OneDnnConv>();
  std::vector<float> values =
      Floats(weight, shape.out_channels * shape.in_channels * shape.kernel * shape.kernel);
  std::vector<float> bias_values = Floats(bias, shape.out_channels);
  conv->widened = shape.type == DType::kBF16 &&
                  !(native_bf16 && shape.output_type == DType::kBF16 && RepresentableInBF16(values));
  const auto type = OneDnnType(conv->widened ? DType::kF32 : shape.type);

  const SingleThreaded single_threaded;  // primitives remember the thread count that they are made under
  const memory::dims weight_dims = {shape.out_channels, shape.in_channels, shape.kernel, shape.kernel};
  memory::desc weight_desc(weight_dims, type, memory::format_tag::any);
  const memory::desc bias_desc({shape.out_channels}, memory::data_type::f32, memory::format_tag::x);

  const int64_t height = StripeRows(shape);
  for (int64_t row = 0; row < shape.out_height(); row += height) {
    const int64_t rows = std::min(height, shape.out_height() - row);
    // The input lines that the stripe's windows cover, some of them perhaps above and below the map.
    const int64_t above = row * shape.stride - shape.padding();
    const int64_t below = (row + rows - 1) * shape.stride - shape.padding() + shape.kernel;
    const int64_t first = std::max<int64_t>(above, 0), last = std::min(below, shape.height);
    const int64_t top = first - above, bottom = below - last;
    size_t index = 0;
    while (index < conv->kinds.size() && !(conv->kinds[index].rows == rows && conv->kinds[index].top == top &&
                                           conv->kinds[index].bottom == bottom)) {
      index++;
    }
    conv->stripes.push_back({row, rows, first, last - first, index});
    if (index < conv->kinds.size()) continue;
    StripeKind kind;
    kind.rows = rows, kind.top = top, kind.bottom = bottom;
    conv->widest_in = std::max(conv->widest_in, last - first);
    conv->widest_out = std::max(conv->widest_out, rows);
    kind.source =
        memory::desc({1, shape.in_channels, last - first, shape.width}, type, memory::format_tag::nhwc);
    kind.target =
        memory::desc({1, shape.out_channels, rows, shape.out_width()}, type, memory::format_tag::nhwc);
    CheckRoomForCode();
    const auto plain = Describe(shape, kind, weight_desc, bias_desc, false);
    weight_desc = plain.weights_desc();  // the first primitive's choice binds the others
    const auto adding = Describe(shape, kind, weight_desc, bias_desc, true);
    kind.plain = dnnl::convolution_forward(plain), kind.plain_scratch = plain.scratchpad_desc();
    kind.adding = dnnl::convolution_forward(adding), kind.adding_scratch = adding.scratchpad_desc();
    conv->kinds.push_back(std::move(kind));
  }

  CheckRoomForCode();  // for the reordering
  const dnnl::engine& engine = OneDnnEngine();
  memory plain(memory::desc(weight_dims, memory::data_type::f32, memory::format_tag::oihw), engine,
               values.data());
  conv->weight = memory(weight_desc, engine);
  dnnl::reorder(plain, conv->weight).execute(OneDnnStream(), plain, conv->weight);
  conv->bias = memory(bias_desc, engine);
  OneDnnStream().wait();
  std::copy(bias_values.begin(), bias_values.end(), static_cast<float*>(conv->bias.get_data_handle()));
  conv->bytes = weight_desc.get_size() + bias_desc.get_size();
  return conv;
}

}  // namespace

std::unique_ptr<Conv2d> PackConv(Isa isa, ThreadPool& pool, const ConvShape& shape, TensorView weight,
                                 TensorView bias) {
  BIFRONS_CHECK(shape.kernel == 1 || shape.kernel == 3);
  BIFRONS_CHECK(shape.stride == 1 || (shape.stride == 2 && shape.kernel == 3));
  BIFRONS_CHECK(shape.type == shape.output_type || shape.output_type == DType::kF32);
  BIFRONS_CHECK(shape.out_height() > 0 && shape.out_width() > 0);
  BIFRONS_CHECK(weight.shape.elements() ==
                shape.out_channels * shape.in_channels * shape.kernel * shape.kernel);
  BIFRONS_CHECK(bias.empty() || bias.shape.elements() == shape.out_channels);
  const BF16Products bf16 = ProductsOf(isa);
  std::unique_ptr<CpuConv> conv;
  if (shape.out_channels == 3 && shape.stride == 1 && shape.output_type == DType::kF32) {
    conv = PackConvTo3(shape, weight, bias);
  } else if ((shape.type == DType::kF32 || bf16 != BF16Products::kTiles) && shape.type == shape.output_type &&
             SuitsWinograd(shape)) {
    conv = PackWinograd(pool, shape, weight, bias);
  } else {
    conv = WithOneDnn([&] { return PackOneDnn(bf16 != BF16Products::kNone, shape, weight, bias); });
  }
  conv->shape = shape;
  return conv;
}

void Convolve(Workspace& work, const Conv2d& conv, const View& in, const View& residual, const View& out) {
  static_cast<const CpuConv&>(conv).Run(work, in, residual, out);
}

}  // namespace bifrons::cpu
