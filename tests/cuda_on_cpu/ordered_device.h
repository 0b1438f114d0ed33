// A device whose work is done in an order of its own: as long as the queue that it made last is used.
#pragma once

#include <memory>
#include <utility>

#include "tests/cuda_on_cpu/emulator.h"
#include "tests/forwarding_device.h"

namespace bifrons {

class OrderedDevice final : public ForwardingDevice {
 public:
  OrderedDevice(std::unique_ptr<Device> device, const cuda_emulator::Settings& settings)
      : ForwardingDevice(std::move(device)), settings_(settings) {}

  std::unique_ptr<Queue> MakeQueue() override {
    cuda_emulator::Set(settings_);
    return ForwardingDevice::MakeQueue();
  }

 private:
  cuda_emulator::Settings settings_;
};

}  // namespace bifrons
