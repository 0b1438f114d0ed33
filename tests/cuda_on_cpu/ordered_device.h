// A device whose work is done in an order of its own: as long as the queue that it made last is used.
#pragma once

#include <memory>
#include <utility>

#include "kernels/device.h"
#include "tests/cuda_on_cpu/emulator.h"

namespace bifrons {

class OrderedDevice final : public Device {
 public:
  OrderedDevice(std::unique_ptr<Device> device, const cuda_emulator::Settings& settings)
      : device_(std::move(device)), settings_(settings) {}

  std::string backend() const override { return device_->backend(); }
  std::string isa() const override { return device_->isa(); }
  int threads() const override { return device_->threads(); }
  uint64_t FreeMemory() override { return device_->FreeMemory(); }
  DType default_compute() const override { return device_->default_compute(); }
  double MeasureBandwidth() override { return device_->MeasureBandwidth(); }
  double MeasureMacRate(DType compute) override { return device_->MeasureMacRate(compute); }
  std::unique_ptr<Buffer> Allocate(size_t bytes) override { return device_->Allocate(bytes); }
  std::unique_ptr<Linear> PackLinear(std::span<const TensorView> parts, TensorView bias,
                                     DType compute) override {
    return device_->PackLinear(parts, bias, compute);
  }
  std::unique_ptr<Conv2d> PackConv(const ConvShape& shape, TensorView weight, TensorView bias) override {
    return device_->PackConv(shape, weight, bias);
  }
  std::unique_ptr<Table> PackTable(TensorView rows) override { return device_->PackTable(rows); }
  DeviceTensor PackTensor(TensorView values) override { return device_->PackTensor(values); }
  std::unique_ptr<KvPages> MakeKvPages(const KvShape& shape) override { return device_->MakeKvPages(shape); }
  std::unique_ptr<Queue> MakeQueue() override {
    cuda_emulator::Set(settings_);
    return device_->MakeQueue();
  }

 private:
  std::unique_ptr<Device> device_;
  cuda_emulator::Settings settings_;
};

}  // namespace bifrons
