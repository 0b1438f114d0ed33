// The arithmetic is that of Pillow's libImaging/Resample.c, because the reference's pixels come from there:
// coefficients in f64, normalised, rounded to 22-bit fixed point; one axis after the other, with bytes in
// between.
#include "vision/resize.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "src/base/check.h"

namespace bifrons {
namespace {

// 32 bits less 8 of the sample and 2 for what negative coefficients may over- and undershoot.
constexpr int kPrecision = 32 - 8 - 2;

// Keys' cubic convolution with a = -1/2 for |x| < 2.
double Bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// A sinc of the sinc's own window for |x| < 3.
double Lanczos(double x) {
  constexpr double a = 3;
  const auto sinc = [](double y) {
    y *= std::numbers::pi;
    return y == 0 ? 1.0 : std::sin(y) / y;
  };
  return std::fabs(x) < a ? sinc(x) * sinc(x / a) : 0;
}

struct Filter {
  double (*weight)(double x);
  double support;  // beyond which the weight is 0
};

// One output sample is the sum over `count` input samples from `first` on.
struct Window {
  int64_t first, count;
  size_t weights;  // where its weights start
};

struct Weights {
  std::vector<Window> windows;  // [out]
  std::vector<int32_t> values;  // in units of 2^-kPrecision
};

// The part of the input's columns, or of its rows, that the output shows. Pillow holds it in f32.
struct Extent {
  float begin, end;
};

Extent Whole(int64_t size) { return {0, static_cast<float>(size)}; }

bool IsWhole(const Extent& extent, int64_t size) {
  return extent.begin == 0 && extent.end == static_cast<float>(size);
}

Weights MakeWeights(int64_t in, const Extent& shown, int64_t out, const Filter& filter) {
  const double scale = static_cast<double>(shown.end - shown.begin) / static_cast<double>(out);
  const double stretch = std::max(scale, 1.0);  // shrinking widens the filter
  const double support = filter.support * stretch, inverse = 1.0 / stretch;
  Weights weights;
  weights.windows.reserve(static_cast<size_t>(out));
  std::vector<double> row;
  for (int64_t i = 0; i < out; i++) {
    const double center = static_cast<double>(shown.begin) + (static_cast<double>(i) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(center - support + 0.5), 0);
    const int64_t end = std::min<int64_t>(static_cast<int64_t>(center + support + 0.5), in);
    weights.windows.push_back({first, end - first, weights.values.size()});
    row.clear();
    double sum = 0;
    for (int64_t x = 0; x < end - first; x++) {
      row.push_back(filter.weight((static_cast<double>(x + first) - center + 0.5) * inverse));
      sum += row.back();
    }
    for (double w : row) {
      if (sum != 0) w /= sum;
      w *= 1 << kPrecision;
      weights.values.push_back(static_cast<int32_t>(w < 0 ? w - 0.5 : w + 0.5));  // halves away from zero
    }
  }
  return weights;
}

uint8_t Round(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kPrecision, 0, 255)); }

constexpr int32_t kHalf = 1 << (kPrecision - 1);

Image ResizeColumns(const Image& image, const Extent& shown, int64_t width, const Filter& filter) {
  const Weights weights = MakeWeights(image.width, shown, width, filter);
  Image out{width, image.height, std::vector<uint8_t>(static_cast<size_t>(width * image.height * 3))};
  uint8_t* to = out.rgb.data();
  for (int64_t y = 0; y < image.height; y++) {
    const uint8_t* row = image.rgb.data() + y * image.width * 3;
    for (const Window& window : weights.windows) {
      const uint8_t* from = row + window.first * 3;
      const int32_t* w = weights.values.data() + window.weights;
      int32_t r = kHalf, g = kHalf, b = kHalf;
      for (int64_t x = 0; x < window.count; x++, from += 3) {
        r += from[0] * w[x];
        g += from[1] * w[x];
        b += from[2] * w[x];
      }
      to[0] = Round(r), to[1] = Round(g), to[2] = Round(b);
      to += 3;
    }
  }
  return out;
}

Image ResizeRows(const Image& image, const Extent& shown, int64_t height, const Filter& filter) {
  const Weights weights = MakeWeights(image.height, shown, height, filter);
  const size_t stride = static_cast<size_t>(image.width) * 3;
  Image out{image.width, height, std::vector<uint8_t>(stride * static_cast<size_t>(height))};
  std::vector<int32_t> sums(stride);
  for (size_t y = 0; y < static_cast<size_t>(height); y++) {
    const Window& window = weights.windows[y];
    sums.assign(stride, kHalf);
    for (int64_t i = 0; i < window.count; i++) {
      const uint8_t* from = image.rgb.data() + static_cast<size_t>(window.first + i) * stride;
      const int32_t w = weights.values[window.weights + static_cast<size_t>(i)];
      for (size_t x = 0; x < stride; x++) sums[x] += from[x] * w;
    }
    for (size_t x = 0; x < stride; x++) out.rgb[y * stride + x] = Round(sums[x]);
  }
  return out;
}

Image Resize(const Image& image, const Extent& columns, const Extent& rows, int64_t width, int64_t height,
             const Filter& filter) {
  BIFRONS_CHECK(width > 0 && height > 0 && image.width > 0 && image.height > 0);
  BIFRONS_CHECK(image.rgb.size() == static_cast<size_t>(image.width * image.height * 3));
  if (width == image.width && IsWhole(columns, width)) {
    if (height == image.height && IsWhole(rows, height)) return image;
    return ResizeRows(image, rows, height, filter);
  }
  if (height == image.height && IsWhole(rows, height)) return ResizeColumns(image, columns, width, filter);
  // Where the height loses more than twice what the width does, rows come first: Pillow does so from 13.0.0
  // on, because it is less work. With bytes in between the order shows in the last bit.
  const int64_t lost = image.height - height;
  if (lost > 0 && lost > (image.width - width) * 2) {
    return ResizeColumns(ResizeRows(image, rows, height, filter), columns, width, filter);
  }
  return ResizeRows(ResizeColumns(image, columns, width, filter), rows, height, filter);
}

Image Resize(const Image& image, int64_t width, int64_t height, const Filter& filter) {
  return Resize(image, Whole(image.width), Whole(image.height), width, height, filter);
}

// The middle `part` of `whole`.
Extent Middle(double whole, double part) {
  const double begin = (whole - part) * 0.5;
  return {static_cast<float>(begin), static_cast<float>(begin + part)};
}

constexpr Filter kBicubic{Bicubic, 2}, kLanczos{Lanczos, 3};

}  // namespace

Image ResizeBicubic(const Image& image, int64_t width, int64_t height) {
  return Resize(image, width, height, kBicubic);
}

Image ResizeLanczos(const Image& image, int64_t width, int64_t height) {
  return Resize(image, width, height, kLanczos);
}

Image FitLanczos(const Image& image, int64_t width, int64_t height) {
  const auto has_width = static_cast<double>(image.width), has_height = static_cast<double>(image.height);
  const double has = has_width / has_height;
  const double wanted = static_cast<double>(width) / static_cast<double>(height);
  Extent columns = Whole(image.width), rows = Whole(image.height);
  if (has > wanted) columns = Middle(has_width, wanted * has_height);
  if (has < wanted) rows = Middle(has_height, has_width / wanted);
  return Resize(image, columns, rows, width, height, kLanczos);
}

}  // namespace bifrons
