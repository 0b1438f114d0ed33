// Deals the feature-map ops to the pool. The loops are in maps-inl.h, convolutions in conv.h.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/cpu/conv.h"
#include "kernels/cpu/queue.h"
#include "kernels/host/memory.h"

namespace bifrons::cpu {

using host::At;

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

}  // namespace

void CpuQueue::DoConvolve(const Conv2d& conv, View in, View residual, View out) {
  cpu::Convolve(work_, conv, in, residual, out);
}

void CpuQueue::DoGroupNorm(View in, View gamma, View beta, int groups, float eps, bool silu, View out) {
  const int64_t pixels = in.shape[0] * in.shape[1], channels = in.shape[2], width = channels / groups;
  const size_t pixel_bytes = BytesOf(in.type, channels);
  const int64_t blocks = (pixels + kNormBlock - 1) / kNormBlock;
  const uint8_t* source = host::Bytes(in);
  uint8_t* target = host::Bytes(out);

  std::vector<Moments> moments(static_cast<size_t>(blocks * groups));
  work_.pool.ParallelFor(blocks, [&](int64_t begin, int64_t end, int part) {
    float* scratch = work_.scratch.Get<float>(Scratch::kProducts, 2 * channels, part);
    for (int64_t b = begin; b < end; b++) {
      const int64_t first = b * kNormBlock;
      BlockMoments(work_.maps, source + static_cast<size_t>(first) * pixel_bytes, in.type,
                   std::min(kNormBlock, pixels - first), channels, groups, scratch,
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
      const double s = inverse * At<float>(gamma)[c];
      scale[static_cast<size_t>(c)] = static_cast<float>(s);
      shift[static_cast<size_t>(c)] = static_cast<float>(At<float>(beta)[c] - mean * s);
    }
  }
  work_.pool.ParallelFor(blocks, [&](int64_t begin, int64_t end, int) {
    const size_t offset = static_cast<size_t>(begin * kNormBlock) * pixel_bytes;
    work_.maps.scale_shift(source + offset, in.type, std::min(end * kNormBlock, pixels) - begin * kNormBlock,
                           channels, scale.data(), shift.data(), silu, target + offset);
  });
}

void CpuQueue::DoUpsample2x(View in, View out) {
  const int64_t height = in.shape[0], width = in.shape[1];
  const size_t pixel = BytesOf(in.type, in.shape[2]), line = static_cast<size_t>(width) * pixel;
  work_.pool.ParallelFor(height, [&](int64_t begin, int64_t end, int) {
    for (int64_t y = begin; y < end; y++) {
      const uint8_t* source = host::Bytes(in) + static_cast<size_t>(y) * line;
      uint8_t* target = host::Bytes(out) + static_cast<size_t>(y) * 4 * line;
      for (int64_t x = 0; x < width; x++) {
        const size_t at = static_cast<size_t>(x) * pixel;
        std::memcpy(target + 2 * at, source + at, pixel);
        std::memcpy(target + 2 * at + pixel, source + at, pixel);
      }
      std::memcpy(target + 2 * line, target, 2 * line);
    }
  });
}

void CpuQueue::DoUnfoldPatches(View picture, int64_t patch, View rows) {
  const int64_t channels = picture.shape[0], height = picture.shape[1], width = picture.shape[2];
  const int64_t across = width / patch;
  work_.pool.ParallelFor(rows.rows(), [&](int64_t begin, int64_t end, int) {
    for (int64_t p = begin; p < end; p++) {
      const float* corner = At<float>(picture) + p / across * patch * width + p % across * patch;
      float* row = At<float>(rows) + p * rows.width();
      for (int64_t channel = 0; channel < channels; channel++) {
        for (int64_t y = 0; y < patch; y++, row += patch) {
          std::copy_n(corner + (channel * height + y) * width, patch, row);
        }
      }
    }
  });
}

void CpuQueue::DoNearestCodeword(View z, View codebook, View squares, View codes) {
  const int64_t dim = z.width(), size = codebook.width();
  work_.pool.ParallelFor(z.rows(), [&](int64_t begin, int64_t end, int part) {
    constexpr int64_t kBlock = 256;  // entries; their distances stay in the L1 cache
    std::array<float, kBlock> dots;
    float* unit = work_.scratch.Get<float>(Scratch::kProducts, dim, part);
    for (int64_t p = begin; p < end; p++) {
      const float* row = At<float>(z) + p * dim;
      float length = 0, own = 0;
      for (int64_t j = 0; j < dim; j++) length += row[j] * row[j];
      length = std::max(std::sqrt(length), 1e-12f);  // torch.nn.functional.normalize
      for (int64_t j = 0; j < dim; j++) unit[j] = row[j] / length;
      for (int64_t j = 0; j < dim; j++) own += unit[j] * unit[j];
      float nearest = std::numeric_limits<float>::infinity();
      int64_t code = 0;
      for (int64_t first = 0; first < size; first += kBlock) {
        const int64_t block = std::min(kBlock, size - first);
        dots.fill(0);
        for (int64_t j = 0; j < dim; j++) {
          const float* column = At<float>(codebook) + j * size + first;
          for (int64_t i = 0; i < block; i++) dots[static_cast<size_t>(i)] += unit[j] * column[i];
        }
        for (int64_t i = 0; i < block; i++) {
          const float distance = own + At<float>(squares)[first + i] - 2 * dots[static_cast<size_t>(i)];
          if (distance < nearest) nearest = distance, code = first + i;
        }
      }
      At<int32_t>(codes)[p] = static_cast<int32_t>(code);
    }
  });
}

void CpuQueue::DoToBytes(View in, View out) {
  const float* from = At<float>(in);
  uint8_t* to = At<uint8_t>(out);
  work_.Deal(in.rows(), in.width(), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin * in.width(); i < end * in.width(); i++) {
      const float value = (from[i] + 1.0f) / 2.0f * 255.0f;
      to[i] = value > 0.0f ? static_cast<uint8_t>(std::min(value, 255.0f)) : uint8_t{0};
    }
  });
}

}  // namespace bifrons::cpu
