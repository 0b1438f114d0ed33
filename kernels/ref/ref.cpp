#include "kernels/ref/ref.h"

#include <algorithm>
#include <chrono>

#include "kernels/host/device.h"
#include "kernels/ref/queue.h"

namespace bifrons::ref {
namespace {

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
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
    for (const TensorView& part : parts) linear->out += part.shape[0];
    linear->compute = compute;
    linear->weight = Tensor(DType::kF32, {linear->out, linear->in});
    float* w = linear->weight.as<float>();
    for (const TensorView& part : parts) {
      BIFRONS_CHECK(part.shape.rank() == 2 && part.shape[1] == linear->in);
      for (int64_t i = 0; i < part.shape.elements(); i++) *w++ = ElementAt(part, i);
    }
    if (!bias.empty()) {
      BIFRONS_CHECK(bias.shape.elements() == linear->out);
      linear->bias = Tensor(DType::kF32, {linear->out});
      for (int64_t i = 0; i < linear->out; i++) linear->bias.as<float>()[i] = ElementAt(bias, i);
    }
    linear->bytes = linear->weight.bytes() + (bias.empty() ? 0 : linear->bias.bytes());
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
