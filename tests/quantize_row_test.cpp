// Products of weights in blocks, on the reference device that every other one is bit-equal to.
#include "kernels/quantize_row.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "kernels/op_matrix/numbers.h"
#include "kernels/ref/ref.h"
#include "src/base/blocks.h"

namespace bifrons {
namespace {

// What kernels/quantize_row.h loses is the activations' rounding: of a step of `scale`, evenly spread, so of
// variance scale² / 12, and never more than half a step.
TEST_CASE("products of blocks are those of the numbers that they stand for") {
  constexpr int64_t kOut = 48, kIn = 512, kRows = 20;
  const DType type = GENERATE(DType::kQ8_0, DType::kQ4_0, DType::kQ4_K);
  INFO(NameOf(type));
  const op_matrix::Numbers weights = op_matrix::Normals(DType::kF32, {kOut, kIn}, 1, 0.02f);
  const op_matrix::Numbers x = op_matrix::Normals(DType::kF32, {kRows, kIn}, 2, 3);
  Tensor blocks(type, {kOut, kIn});
  Quantize(weights.view().as<float>(), kOut * kIn, type, blocks.data());
  std::vector<float> w(kOut * kIn);
  Dequantize(blocks.data(), type, kOut * kIn, w.data());

  const auto device = ref::MakeRefDevice(1);
  const auto queue = device->MakeQueue();
  const TensorView part = blocks.view();
  const auto linear = device->PackLinear({&part, 1}, {}, DType::kF32);
  const DeviceTensor from = device->PackTensor(x.view()), to = device->NewTensor(DType::kF32, {kRows, kOut});
  queue->Multiply(*linear, from.view(), RowClass::kDecode, Epilogue::kNone, to.view());
  const Tensor got = queue->Fetch(to.view());

  std::vector<int8_t> steps(kIn);
  std::vector<float> scales(kIn / kQuantizedGroup);
  double squares = 0, variances = 0;
  for (int64_t r = 0; r < kRows; r++) {
    QuantizeRow(x.view().as<float>() + r * kIn, kIn, steps.data(), scales.data());
    for (int64_t o = 0; o < kOut; o++) {
      double exact = 0, most = 0, variance = 0;
      for (int64_t i = 0; i < kIn; i++) {
        const double weight = w[static_cast<size_t>(o * kIn + i)];
        const double step = scales[static_cast<size_t>(i / kQuantizedGroup)];
        exact += x[r * kIn + i] * weight;
        most += step / 2 * std::fabs(weight);
        variance += step * step / 12 * weight * weight;
      }
      const double error = got.as<float>()[r * kOut + o] - exact;
      CHECK(std::fabs(error) <= 1.001 * most);
      squares += error * error, variances += variance;
    }
  }
  CHECK(std::sqrt(squares / variances) == Approx(1).margin(0.1));  // 960 of them: 1 / √1920 is 0.023
}

TEST_CASE("groups that have no scale") {
  const float odd = GENERATE(as<float>(), std::nanf(""), HUGE_VALF, -HUGE_VALF);
  std::vector<float> x(64, 1e-31f);
  x[63] = odd;
  std::vector<int8_t> steps(64, 7);
  float scales[2];
  QuantizeRow(x.data(), 64, steps.data(), scales);
  CHECK(scales[0] == 0);
  CHECK(std::isnan(scales[1]));
  CHECK(steps == std::vector<int8_t>(64));
}

TEST_CASE("the largest of a group takes all of the range, halves go to even") {
  std::vector<float> x(32);
  x[0] = -254, x[1] = 1, x[2] = 3, x[3] = -5, x[4] = 254;
  std::vector<int8_t> steps(32);
  float scale = 0;
  QuantizeRow(x.data(), 32, steps.data(), &scale);
  CHECK(scale == 2);
  CHECK((steps[0] == -127 && steps[1] == 0 && steps[2] == 2 && steps[3] == -2 && steps[4] == 127));
}

}  // namespace
}  // namespace bifrons
