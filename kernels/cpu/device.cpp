#include "kernels/cpu/device.h"

#include <algorithm>

#include "kernels/cpu/conv.h"
#include "kernels/cpu/limits.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/queue.h"
#include "kernels/host/device.h"

namespace bifrons::cpu {
namespace {

class CpuDevice final : public host::HostDevice {
 public:
  CpuDevice(Isa isa, int threads) : HostDevice(threads), isa_(isa) {}

  std::string backend() const override { return "cpu"; }
  std::string isa() const override { return NameOf(isa_); }
  DType default_compute() const override { return MultipliesBF16(isa_) ? DType::kBF16 : DType::kF32; }
  double MeasureBandwidth() override { return cpu::MeasureBandwidth(pool_); }
  double MeasureMacRate(DType compute) override { return cpu::MeasureMacRate(pool_, isa_, compute); }

  std::unique_ptr<Linear> PackLinear(std::span<const TensorView> parts, TensorView bias,
                                     DType compute) override {
    return cpu::PackLinear(pool_, parts, bias, compute);
  }
  std::unique_ptr<Conv2d> PackConv(const ConvShape& shape, TensorView weight, TensorView bias) override {
    return cpu::PackConv(isa_, pool_, shape, weight, bias);
  }
  std::unique_ptr<Queue> MakeQueue() override { return std::make_unique<CpuQueue>(isa_, pool_); }

 private:
  const Isa isa_;
};

}  // namespace

std::unique_ptr<Device> MakeCpuDevice(Isa isa, int threads) {
  const auto& supported = SupportedIsas();
  BIFRONS_CHECK(std::find(supported.begin(), supported.end(), isa) != supported.end());
  return std::make_unique<CpuDevice>(isa, threads);
}

}  // namespace bifrons::cpu
