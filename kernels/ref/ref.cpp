#include "kernels/ref/ref.h"

#include <algorithm>
#include <chrono>

#include "kernels/host/device.h"
#include "kernels/quantize_row.h"
#include "kernels/ref/queue.h"
#include "src/base/blocks.h"

namespace bifrons::ref {
namespace {

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

RefRows Widened(const TensorView& part) {
  RefRows rows;
  rows.out = part.shape[0];
  rows.weight = Tensor(DType::kF32, part.shape);
  for (int64_t i = 0; i < part.shape.elements(); i++) rows.weight.as<float>()[i] = ElementAt(part, i);
  return rows;
}

// Of a matrix in blocks.
RefRows StepsAndScales(const TensorView& part) {
  const int64_t n = part.shape.elements();
  RefRows rows;
  rows.out = part.shape[0];
  rows.weight = Tensor(DType::kF32, part.shape);
  rows.scales = Tensor(DType::kF32, {part.shape[0], part.shape[1] / kQuantizedGroup});
  float* steps = rows.weight.as<float>();
  float* scales = rows.scales.as<float>();
  switch (part.dtype) {
    case DType::kQ8_0:
      for (const BlockQ8_0& block : BlocksOf<BlockQ8_0>(part)) {
        *scales++ = ToFloat(block.scale);
        steps = std::copy(std::begin(block.q), std::end(block.q), steps);
      }
      break;
    case DType::kQ4_0:
      for (const BlockQ4_0& block : BlocksOf<BlockQ4_0>(part)) {
        *scales++ = ToFloat(block.scale);
        for (const uint8_t pair : block.q) {
          steps[0] = static_cast<float>((pair & 15) - 8);
          steps[16] = static_cast<float>((pair >> 4) - 8);
          steps++;
        }
        steps += 16;
      }
      break;
    case DType::kQ4_K: {
      rows.minima = Tensor(DType::kF32, rows.scales.shape());
      float* minima = rows.minima.as<float>();
      for (const BlockQ4_K& block : BlocksOf<BlockQ4_K>(part)) {
        const GroupScales groups = GroupsOf(block);
        for (size_t g = 0; g < groups.scale.size(); g++) {
          *scales++ = ToFloat(block.scale) * static_cast<float>(groups.scale[g]);
          *minima++ = ToFloat(block.min_scale) * static_cast<float>(groups.min[g]);
          for (size_t i = 0; i < BlockQ4_K::kGroup; i++)
            *steps++ = static_cast<float>(block.q[g / 2 * BlockQ4_K::kGroup + i] >> (g % 2 * 4) & 15);
        }
      }
      break;
    }
    default:
      BIFRONS_CHECK(false, "%s has no blocks", NameOf(part.dtype));
  }
  BIFRONS_CHECK(steps == rows.weight.as<float>() + n);
  return rows;
}

class RefDevice final : public host::HostDevice {
 public:
  explicit RefDevice(int threads) : HostDevice(threads) {}

  std::string backend() const override { return "ref"; }
  std::string isa() const override { return "scalar"; }
  DType default_compute() const override { return DType::kF32; }

  // One byte after another, as the loops do.
  double MeasureBandwidth() override {
    constexpr int64_t kArena = int64_t{1} << 24;
    const Tensor arena = Tensor::Zeros(DType::kI32, {kArena});
    const double start = Seconds();
    int64_t sum = 0;
    for (int64_t i = 0; i < arena.shape().elements(); i++) sum += arena.as<int32_t>()[i];
    asm volatile("" : : "r"(sum));
    return static_cast<double>(arena.bytes()) / (Seconds() - start);
  }

  double MeasureMacRate(DType) override {
    constexpr int64_t kMacs = int64_t{1} << 24;
    const double start = Seconds();
    pool_.ParallelFor(threads(), [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; t++) {
        float sum = 0, a = 0.5f, b = 0.25f;
        for (int64_t i = 0; i < kMacs; i++) {
          sum += a * b;
          asm volatile("" : "+m"(sum));
        }
      }
    });
    return static_cast<double>(kMacs * threads()) / (Seconds() - start);
  }

  std::unique_ptr<Linear> PackLinear(std::span<const TensorView> parts, TensorView bias,
                                     DType compute) override {
    BIFRONS_CHECK(!parts.empty());
    auto linear = std::make_unique<RefLinear>();
    linear->in = parts[0].shape[1];
    linear->compute = compute;
    for (const TensorView& part : parts) {
      BIFRONS_CHECK(part.shape.rank() == 2 && part.shape[1] == linear->in);
      const RefRows& rows =
          linear->parts.emplace_back(IsQuantized(part.dtype) ? StepsAndScales(part) : Widened(part));
      linear->out += rows.out;
      for (const Tensor* held : {&rows.weight, &rows.scales, &rows.minima})
        linear->bytes += held->empty() ? 0 : held->bytes();
    }
    if (!bias.empty()) {
      BIFRONS_CHECK(bias.shape.elements() == linear->out);
      linear->bias = Tensor(DType::kF32, {linear->out});
      for (int64_t i = 0; i < linear->out; i++) linear->bias.as<float>()[i] = ElementAt(bias, i);
    }
    linear->bytes += bias.empty() ? 0 : linear->bias.bytes();
    return linear;
  }

  std::unique_ptr<Conv2d> PackConv(const ConvShape& shape, TensorView weight, TensorView bias) override {
    auto conv = std::make_unique<RefConv>();
    conv->shape = shape;
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

  std::unique_ptr<Queue> MakeQueue() override { return std::make_unique<RefQueue>(pool_); }
};

}  // namespace

std::unique_ptr<Device> MakeRefDevice(int threads) { return std::make_unique<RefDevice>(threads); }

}  // namespace bifrons::ref
