// What feature maps must stand beyond being right (ops_matrix_test).
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/op_matrix/numbers.h"
#include "tests/ops_device.h"

namespace bifrons {
namespace {

using op_matrix::Numbers;

// Normalised and with swish, of one group.
template <class F>
Tensor GroupNorm(Device& device, float gamma, const F& value) {
  const Shape shape{1, 40, 1};
  const auto queue = device.MakeQueue();
  const DeviceTensor in = device.PackTensor(Numbers(DType::kF32, shape, value).view());
  const DeviceTensor scale = device.PackVector({&gamma, 1}), out = device.NewTensor(DType::kF32, shape);
  const DeviceTensor shift = device.PackTensor(op_matrix::Zeros(DType::kF32, {1}).view());
  queue->GroupNorm(in.view(), scale.view(), shift.view(), 1, 1e-6f, true, out.view());
  return queue->Fetch(out.view());
}

TEST_CASE("swish at its ends") {
  // One huge value among zeros: normalised to ±√n, then scaled far outside exp's range.
  const auto ends = [](int64_t i) { return i == 0 ? 1 : i == 1 ? -1 : 0; };
  const Tensor got = GroupNorm(Cpu(1), 1e6f, ends), wanted = GroupNorm(Ref(), 1e6f, ends);
  CHECK(got.as<float>()[0] == Approx(wanted.as<float>()[0]).epsilon(1e-6));
  CHECK(std::abs(got.as<float>()[1]) < 1e-20f);
  CHECK(got.as<float>()[2] == 0);
}

TEST_CASE("a NaN in a map stays visible") {
  for (Device* device : {&Cpu(1), &Cpu(2), &Ref()}) {
    const Tensor got = GroupNorm(*device, 1, [](int64_t i) { return i == 3 ? NAN : 1; });
    for (int64_t i = 0; i < 40; i++) CHECK(std::isnan(got.as<float>()[i]));

    const auto queue = device->MakeQueue();
    const ConvShape shape{.in_channels = 32, .out_channels = 32, .height = 5, .width = 5, .kernel = 3};
    const auto conv = device->PackConv(shape, op_matrix::Weights(DType::kF32, {32, 32, 3, 3}, 1).view(), {});
    const Numbers broken(DType::kF32, shape.in(), [](int64_t i) { return i == 0 ? NAN : 1; });
    const DeviceTensor in = device->PackTensor(broken.view()),
                       out = device->NewTensor(DType::kF32, shape.out());
    queue->Convolve(*conv, in.view(), {}, out.view());
    const Tensor map = queue->Fetch(out.view());
    for (int64_t i = 0; i < map.shape().elements(); i++) {
      const int64_t line = i / 32 / 5, column = i / 32 % 5;
      CHECK(std::isnan(map.as<float>()[i]) == (line < 2 && column < 2));
    }
  }
}

TEST_CASE("pixels are clipped and truncated as the reference does") {
  const float infinity = std::numeric_limits<float>::infinity();
  // (x + 1) / 2 · 255 in f32: 0.9921568 → 253.99998 → 253, where rounding would say 254.
  const std::vector<float> x = {-1,  -2,       1,         3,          0,           -0.99f,      0.5f,
                                NAN, infinity, -infinity, 0.9921568f, 0.99607843f, -0.9960785f, 1e30f};
  const std::vector<uint8_t> expected = {0, 0, 255, 255, 127, 1, 191, 0, 255, 0, 253, 254, 0, 255};
  for (Device* device : {&Cpu(1), &Ref()}) {
    const auto queue = device->MakeQueue();
    const DeviceTensor pixels = device->PackVector(x), bytes = device->NewTensor(DType::kU8, pixels.shape());
    queue->ToBytes(pixels.view(), bytes.view());
    const Tensor rgb = queue->Fetch(bytes.view());
    CHECK(std::vector<uint8_t>(rgb.as<uint8_t>(), rgb.as<uint8_t>() + rgb.bytes()) == expected);
  }
}

}  // namespace
}  // namespace bifrons
