// A device whose work is done in orders of its own, queue by queue in turn: as long as the queue that it made
// last is used.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "tests/cuda_on_cpu/emulator.h"
#include "tests/forwarding_device.h"

namespace bifrons {

class OrderedDevice final : public ForwardingDevice {
 public:
  OrderedDevice(std::unique_ptr<Device> device, std::vector<cuda_emulator::Settings> settings)
      : ForwardingDevice(std::move(device)), settings_(std::move(settings)) {}

  std::unique_ptr<Queue> MakeQueue() override {
    cuda_emulator::Set(settings_[next_++ % settings_.size()]);
    return ForwardingDevice::MakeQueue();
  }

 private:
  std::vector<cuda_emulator::Settings> settings_;
  size_t next_ = 0;
};

}  // namespace bifrons
