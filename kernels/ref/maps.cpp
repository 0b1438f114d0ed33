// Feature maps of the ref device: sums in double, so that it can judge the others.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/host/memory.h"
#include "kernels/ref/queue.h"
#include "src/base/check.h"

namespace bifrons::ref {
namespace {

using host::At;

void Put(const View& v, int64_t i, double x) {
  if (v.type == DType::kBF16) {
    At<BF16>(v)[i] = ToBF16(static_cast<float>(x));
  } else {
    At<float>(v)[i] = static_cast<float>(x);
  }
}

float Number(const View& v, int64_t i) { return ElementAt(host::Seen(v), i); }

}  // namespace

void RefQueue::DoConvolve(const Conv2d& packed, View in, View residual, View out) {
  const auto& conv = static_cast<const RefConv&>(packed);
  const ConvShape& shape = conv.shape;
  const int64_t in_channels = shape.in_channels, out_channels = shape.out_channels, kernel = shape.kernel;
  const int64_t height = shape.height, width = shape.width, out_width = shape.out_width();
  std::vector<float> wide(static_cast<size_t>(in.shape.elements()));
  for (size_t i = 0; i < wide.size(); i++) wide[i] = Number(in, static_cast<int64_t>(i));
  pool_.ParallelFor(shape.out_height(), [&](int64_t begin, int64_t end, int) {
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
          Put(out, i, residual.empty() ? sum : sum + Number(residual, i));
        }
      }
    }
  });
}

void RefQueue::DoGroupNorm(View in, View gamma, View beta, int groups, float eps, bool silu, View out) {
  const int64_t pixels = in.shape[0] * in.shape[1], channels = in.shape[2], width = channels / groups;
  pool_.ParallelFor(groups, [&](int64_t begin, int64_t end, int) {
    for (int64_t g = begin; g < end; g++) {
      const auto for_each = [&](const auto& body) {
        for (int64_t p = 0; p < pixels; p++) {
          for (int64_t c = g * width; c < (g + 1) * width; c++) body(p * channels + c, c);
        }
      };
      double sum = 0, squares = 0;
      for_each([&](int64_t i, int64_t) { sum += Number(in, i); });
      const double n = static_cast<double>(pixels * width), mean = sum / n;
      for_each([&](int64_t i, int64_t) { squares += (Number(in, i) - mean) * (Number(in, i) - mean); });
      const double scale = 1.0 / std::sqrt(squares / n + static_cast<double>(eps));
      for_each([&](int64_t i, int64_t c) {
        const double y = (Number(in, i) - mean) * scale * At<float>(gamma)[c] + At<float>(beta)[c];
        Put(out, i, silu ? y / (1.0 + std::exp(-y)) : y);
      });
    }
  });
}

void RefQueue::DoUpsample2x(View in, View out) {
  const int64_t height = in.shape[0], width = in.shape[1], channels = in.shape[2];
  pool_.ParallelFor(2 * height, [&](int64_t begin, int64_t end, int) {
    for (int64_t y = begin; y < end; y++) {
      for (int64_t x = 0; x < 2 * width; x++) {
        for (int64_t c = 0; c < channels; c++) {
          Put(out, (y * 2 * width + x) * channels + c, Number(in, ((y / 2) * width + x / 2) * channels + c));
        }
      }
    }
  });
}

void RefQueue::DoUnfoldPatches(View picture, int64_t patch, View rows) {
  const int64_t height = picture.shape[1], width = picture.shape[2], across = width / patch;
  for (int64_t p = 0; p < rows.rows(); p++) {
    for (int64_t i = 0; i < rows.width(); i++) {
      const int64_t channel = i / (patch * patch), y = i / patch % patch, x = i % patch;
      const int64_t line = p / across * patch + y, column = p % across * patch + x;
      At<float>(rows)[p * rows.width() + i] = At<float>(picture)[(channel * height + line) * width + column];
    }
  }
}

// janus/models/vq_model.py: VectorQuantizer.forward
void RefQueue::DoNearestCodeword(View z, View codebook, View squares, View codes) {
  const int64_t dim = z.width(), size = codebook.width();
  pool_.ParallelFor(z.rows(), [&](int64_t begin, int64_t end, int) {
    std::vector<float> unit(static_cast<size_t>(dim));
    for (int64_t p = begin; p < end; p++) {
      const float* row = At<float>(z) + p * dim;
      float length = 0, own = 0;
      for (int64_t j = 0; j < dim; j++) length += row[j] * row[j];
      length = std::max(std::sqrt(length), 1e-12f);
      for (int64_t j = 0; j < dim; j++) unit[static_cast<size_t>(j)] = row[j] / length;
      for (const float x : unit) own += x * x;
      float nearest = std::numeric_limits<float>::infinity();
      int64_t code = 0;
      for (int64_t i = 0; i < size; i++) {
        float dot = 0;
        for (int64_t j = 0; j < dim; j++)
          dot += unit[static_cast<size_t>(j)] * At<float>(codebook)[j * size + i];
        const float distance = own + At<float>(squares)[i] - 2 * dot;
        if (distance < nearest) nearest = distance, code = i;
      }
      At<int32_t>(codes)[p] = static_cast<int32_t>(code);
    }
  });
}

void RefQueue::DoToBytes(View in, View out) {
  for (int64_t i = 0; i < in.shape.elements(); i++) {
    const float value = (At<float>(in)[i] + 1) / 2 * 255;
    At<uint8_t>(out)[i] = static_cast<uint8_t>(value > 0 ? std::min(value, 255.0f) : 0);
  }
}

}  // namespace bifrons::ref
