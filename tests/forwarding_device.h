// A device that another one does the work of: what derives from it changes one thing.
#pragma once

#include <memory>
#include <utility>

#include "kernels/device.h"

namespace bifrons {

class ForwardingDevice : public Device {
 public:
  explicit ForwardingDevice(std::unique_ptr<Device> device) : device_(std::move(device)) {}

  std::string backend() const override { return device_->backend(); }
  std::string isa() const override { return device_->isa(); }
  std::string name() const override { return device_->name(); }
  int threads() const override { return device_->threads(); }
  DType default_compute() const override { return device_->default_compute(); }
  uint64_t FreeMemory() override { return device_->FreeMemory(); }
  bool keeps_tables() const override { return device_->keeps_tables(); }
  double MeasureBandwidth() override { return device_->MeasureBandwidth(); }
  double MeasureMacRate(DType compute) override { return device_->MeasureMacRate(compute); }
  std::string convolution_library() const override { return device_->convolution_library(); }
  std::unique_ptr<Buffer> Allocate(size_t bytes) override { return device_->Allocate(bytes); }
  std::unique_ptr<Linear> PackLinear(std::span<const TensorView> parts, TensorView bias,
                                     DType compute) override {
    return device_->PackLinear(parts, bias, compute);
  }
  std::unique_ptr<Conv2d> PackConv(const ConvShape& shape, TensorView weight, TensorView bias) override {
    return device_->PackConv(shape, weight, bias);
  }
  Status UseCudnn() override { return device_->UseCudnn(); }
  std::unique_ptr<Table> PackTable(TensorView rows) override { return device_->PackTable(rows); }
  DeviceTensor PackTensor(TensorView values) override { return device_->PackTensor(values); }
  std::unique_ptr<KvPages> MakeKvPages(const KvShape& shape) override { return device_->MakeKvPages(shape); }
  std::unique_ptr<Queue> MakeQueue() override { return device_->MakeQueue(); }

 private:
  std::unique_ptr<Device> device_;
};

}  // namespace bifrons
