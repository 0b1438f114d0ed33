#include "kernels/ref/maps.h"

#include <cmath>
#include <vector>

#include "src/base/check.h"

namespace bifrons::ref {
namespace {

void Put(Tensor& t, int64_t i, double x) {
  if (t.dtype() == DType::kBF16) {
    t.as<BF16>()[i] = ToBF16(static_cast<float>(x));
  } else {
    t.as<float>()[i] = static_cast<float>(x);
  }
}

struct RefConv : Conv2d {
  std::vector<float> weight;  // [out, kernel, kernel, in]
  std::vector<float> bias;    // [out]
};

}  // namespace

std::unique_ptr<Conv2d> PackConv(ThreadPool&, const ConvShape& shape, TensorView weight, TensorView bias,
                                 DType compute) {
  auto conv = std::make_unique<RefConv>();
  conv->shape = shape;
  conv->compute = compute;
  const int64_t taps = int64_t{shape.kernel} * shape.kernel,
                n = shape.out_channels * shape.in_channels * taps;
  BIFRONS_CHECK(weight.shape.elements() == n);
  conv->weight.resize(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; i++) {
    const int64_t tap = i % taps, c = i / taps % shape.in_channels, o = i / taps / shape.in_channels;
    conv->weight[static_cast<size_t>((o * taps + tap) * shape.in_channels + c)] = ElementAt(weight, i);
  }
  conv->bias.resize(static_cast<size_t>(shape.out_channels));
  for (int64_t i = 0; i < shape.out_channels && !bias.empty(); i++)
    conv->bias[static_cast<size_t>(i)] = ElementAt(bias, i);
  conv->bytes = (conv->weight.size() + conv->bias.size()) * sizeof(float);
  return conv;
}

void Convolve(ThreadPool& pool, const Conv2d& packed, TensorView in, TensorView residual, Tensor& out) {
  const auto& conv = static_cast<const RefConv&>(packed);
  const ConvShape& shape = conv.shape;
  const int64_t in_channels = shape.in_channels, out_channels = shape.out_channels, kernel = shape.kernel;
  const int64_t height = shape.height, width = shape.width, out_width = shape.out_width();
  BIFRONS_CHECK((in.shape == Shape{height, width, in_channels}) && in.dtype == conv.compute);
  BIFRONS_CHECK((out.shape() == Shape{shape.out_height(), out_width, out_channels}));
  std::vector<float> wide(static_cast<size_t>(in.shape.elements()));
  for (size_t i = 0; i < wide.size(); i++) wide[i] = ElementAt(in, static_cast<int64_t>(i));
  pool.ParallelFor(shape.out_height(), [&](int64_t begin, int64_t end, int) {
    for (int64_t y = begin; y < end; y++) {
      for (int64_t x = 0; x < out_width; x++) {
        for (int64_t o = 0; o < out_channels; o++) {
          double sum = conv.bias[static_cast<size_t>(o)];
          for (int64_t ky = 0; ky < kernel; ky++) {
            for (int64_t kx = 0; kx < kernel; kx++) {
              const int64_t iy = y * shape.stride + ky - shape.padding();
              const int64_t ix = x * shape.stride + kx - shape.padding();
              if (iy < 0 || iy >= height || ix < 0 || ix >= width) continue;
              const float* w = conv.weight.data() + ((o * kernel + ky) * kernel + kx) * in_channels;
              const float* v = wide.data() + (iy * width + ix) * in_channels;
              for (int64_t c = 0; c < in_channels; c++) sum += static_cast<double>(v[c]) * w[c];
            }
          }
          const int64_t i = (y * out_width + x) * out_channels + o;
          Put(out, i, residual.empty() ? sum : sum + ElementAt(residual, i));
        }
      }
    }
  });
}

void GroupNorm(ThreadPool& pool, TensorView in, const float* gamma, const float* beta, int groups, float eps,
               bool silu, Tensor& out) {
  BIFRONS_CHECK(in.shape == out.shape() && in.dtype == out.dtype());
  const int64_t pixels = in.shape[0] * in.shape[1], channels = in.shape[2], width = channels / groups;
  BIFRONS_CHECK(channels % groups == 0);
  pool.ParallelFor(groups, [&](int64_t begin, int64_t end, int) {
    for (int64_t g = begin; g < end; g++) {
      const auto for_each = [&](const auto& body) {
        for (int64_t p = 0; p < pixels; p++) {
          for (int64_t c = g * width; c < (g + 1) * width; c++) body(p * channels + c, c);
        }
      };
      double sum = 0, squares = 0;
      for_each([&](int64_t i, int64_t) { sum += ElementAt(in, i); });
      const double n = static_cast<double>(pixels * width), mean = sum / n;
      for_each([&](int64_t i, int64_t) { squares += (ElementAt(in, i) - mean) * (ElementAt(in, i) - mean); });
      const double scale = 1.0 / std::sqrt(squares / n + static_cast<double>(eps));
      for_each([&](int64_t i, int64_t c) {
        const double y = (ElementAt(in, i) - mean) * scale * gamma[c] + beta[c];
        Put(out, i, silu ? y / (1.0 + std::exp(-y)) : y);
      });
    }
  });
}

void Upsample2x(ThreadPool& pool, TensorView in, Tensor& out) {
  const int64_t height = in.shape[0], width = in.shape[1], channels = in.shape[2];
  BIFRONS_CHECK((out.shape() == Shape{2 * height, 2 * width, channels}) && in.dtype == out.dtype());
  pool.ParallelFor(2 * height, [&](int64_t begin, int64_t end, int) {
    for (int64_t y = begin; y < end; y++) {
      for (int64_t x = 0; x < 2 * width; x++) {
        for (int64_t c = 0; c < channels; c++) {
          Put(out, (y * 2 * width + x) * channels + c,
              ElementAt(in, ((y / 2) * width + x / 2) * channels + c));
        }
      }
    }
  });
}

}  // namespace bifrons::ref
