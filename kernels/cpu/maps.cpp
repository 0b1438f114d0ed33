#include "kernels/cpu/maps.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/conv.h"
#include "kernels/cpu/map_kernels.h"
#include "src/base/check.h"

namespace bifrons::cpu {

const MapKernels& GetMapKernels(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx2) return kMapKernelsAvx2;
  if (isa == Isa::kAvx512 || isa == Isa::kAmx) return kMapKernelsAvx512;
#endif
  static_cast<void>(isa);
  return kMapKernelsBaseline;
}

namespace {

// Mean and centred sum of squares of each group over one block of pixels.
struct Moments {
  double mean, squares;
};

void BlockMoments(const MapKernels& kernels, const void* in, DType type, int64_t pixels, int64_t channels,
                  int groups, float* scratch, Moments* moments) {
  float* sums = scratch;
  float* centre = scratch + channels;
  const int64_t width = channels / groups;
  const double n = static_cast<double>(pixels * width);
  kernels.column_sums(in, type, pixels, channels, sums);
  for (int64_t g = 0; g < groups; g++) {
    double sum = 0;
    for (int64_t c = g * width; c < (g + 1) * width; c++) sum += sums[c];
    // The rounded mean is the one that the squares are centred on, so the identity below stays exact.
    const float mean = static_cast<float>(sum / n);
    moments[g] = {sum / n, 0};
    std::fill_n(centre + g * width, width, mean);
  }
  kernels.column_squares(in, type, pixels, channels, centre, sums);
  for (int64_t g = 0; g < groups; g++) {
    double squares = 0;
    for (int64_t c = g * width; c < (g + 1) * width; c++) squares += sums[c];
    const double shift = moments[g].mean - static_cast<double>(centre[g * width]);
    moments[g].squares = squares - n * shift * shift;
  }
}

// Pixels of a block: its f32 sums stay short, and the second look at it finds it in the cache.
constexpr int64_t kNormBlock = 256;

void GroupNormWith(const MapKernels& kernels, ThreadPool& pool, TensorView in, const float* gamma,
                   const float* beta, int groups, float eps, bool silu, Tensor& out) {
  BIFRONS_CHECK(in.shape == out.shape() && in.dtype == out.dtype() && in.shape[2] % groups == 0);
  const int64_t pixels = in.shape[0] * in.shape[1], channels = in.shape[2], width = channels / groups;
  const size_t pixel_bytes = static_cast<size_t>(channels) * SizeOf(in.dtype);
  const int64_t blocks = (pixels + kNormBlock - 1) / kNormBlock;
  const auto* source = static_cast<const uint8_t*>(in.data);
  auto* target = static_cast<uint8_t*>(out.data());

  std::vector<Moments> moments(static_cast<size_t>(blocks * groups));
  pool.ParallelFor(blocks, [&](int64_t begin, int64_t end, int) {
    std::vector<float> scratch(static_cast<size_t>(2 * channels));
    for (int64_t b = begin; b < end; b++) {
      const int64_t first = b * kNormBlock;
      BlockMoments(kernels, source + static_cast<size_t>(first) * pixel_bytes, in.dtype,
                   std::min(kNormBlock, pixels - first), channels, groups, scratch.data(),
                   &moments[static_cast<size_t>(b * groups)]);
    }
  });

  // Chan's parallel variance, blocks in order: the bits do not depend on who computed which block.
  std::vector<float> scale(static_cast<size_t>(channels)), shift(static_cast<size_t>(channels));
  for (int64_t g = 0; g < groups; g++) {
    double mean = 0, squares = 0, n = 0;
    for (int64_t b = 0; b < blocks; b++) {
      const Moments& block = moments[static_cast<size_t>(b * groups + g)];
      const double m = static_cast<double>(std::min(kNormBlock, pixels - b * kNormBlock) * width);
      const double delta = block.mean - mean;
      mean += delta * m / (n + m);
      squares += block.squares + delta * delta * n * m / (n + m);
      n += m;
    }
    const double inverse = 1.0 / std::sqrt(squares / n + static_cast<double>(eps));
    for (int64_t c = g * width; c < (g + 1) * width; c++) {
      const double s = inverse * gamma[c];
      scale[static_cast<size_t>(c)] = static_cast<float>(s);
      shift[static_cast<size_t>(c)] = static_cast<float>(beta[c] - mean * s);
    }
  }
  pool.ParallelFor(blocks, [&](int64_t begin, int64_t end, int) {
    const size_t offset = static_cast<size_t>(begin * kNormBlock) * pixel_bytes;
    kernels.scale_shift(source + offset, in.dtype, std::min(end * kNormBlock, pixels) - begin * kNormBlock,
                        channels, scale.data(), shift.data(), silu, target + offset);
  });
}

void Upsample2x(ThreadPool& pool, TensorView in, Tensor& out) {
  const int64_t height = in.shape[0], width = in.shape[1], channels = in.shape[2];
  BIFRONS_CHECK((out.shape() == Shape{2 * height, 2 * width, channels}) && in.dtype == out.dtype());
  const size_t pixel = static_cast<size_t>(channels) * SizeOf(in.dtype),
               line = static_cast<size_t>(width) * pixel;
  pool.ParallelFor(height, [&](int64_t begin, int64_t end, int) {
    for (int64_t y = begin; y < end; y++) {
      const uint8_t* source = static_cast<const uint8_t*>(in.data) + static_cast<size_t>(y) * line;
      uint8_t* target = static_cast<uint8_t*>(out.data()) + static_cast<size_t>(y) * 4 * line;
      for (int64_t x = 0; x < width; x++) {
        std::memcpy(target + static_cast<size_t>(2 * x) * pixel, source + static_cast<size_t>(x) * pixel,
                    pixel);
        std::memcpy(target + static_cast<size_t>(2 * x + 1) * pixel, source + static_cast<size_t>(x) * pixel,
                    pixel);
      }
      std::memcpy(target + 2 * line, target, 2 * line);
    }
  });
}

// Ops holds plain functions: one instantiation per instruction set.
template <Isa isa>
struct Maps {
  static constexpr BF16Products kProducts = isa == Isa::kAmx      ? BF16Products::kTiles
                                            : MultipliesBF16(isa) ? BF16Products::kVectors
                                                                  : BF16Products::kNone;
  static std::unique_ptr<Conv2d> PackConv(ThreadPool& pool, const ConvShape& shape, TensorView weight,
                                          TensorView bias, DType compute) {
    return cpu::PackConv(pool, GetMapKernels(isa), kProducts, shape, weight, bias, compute);
  }
  static void GroupNorm(ThreadPool& pool, TensorView in, const float* gamma, const float* beta, int groups,
                        float eps, bool silu, Tensor& out) {
    GroupNormWith(GetMapKernels(isa), pool, in, gamma, beta, groups, eps, silu, out);
  }
  static void Attention(ThreadPool& pool, const FullAttention& attention, void* y) {
    AttendToAll(isa, pool, attention, y);
  }
  static void Fill(Ops& ops) {
    ops.pack_conv = PackConv;
    ops.conv2d = Convolve;
    ops.group_norm = GroupNorm;
    ops.upsample2x = Upsample2x;
    ops.full_attention = Attention;
  }
};

}  // namespace

void FillMapOps(Isa isa, Ops& ops) {
  switch (isa) {
    case Isa::kBaseline:
      return Maps<Isa::kBaseline>::Fill(ops);
    case Isa::kAvx2:
      return Maps<Isa::kAvx2>::Fill(ops);
    case Isa::kAvx512:
      return Maps<Isa::kAvx512>::Fill(ops);
    case Isa::kAmx:
      return Maps<Isa::kAmx>::Fill(ops);
    case Isa::kNeon:
      return Maps<Isa::kNeon>::Fill(ops);
  }
}

}  // namespace bifrons::cpu
