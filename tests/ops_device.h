// The devices that the ops' tests run on. oneDNN's instruction set is capped once per process, so a process
// tests one set: BIFRONS_TEST_ISA, or else the best.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <memory>
#include <string>

#include "kernels/device.h"

namespace bifrons {

inline std::string TestedIsa() {
  const char* name = std::getenv("BIFRONS_TEST_ISA");
  const std::string isa = name ? name : "";
  const auto available = AvailableIsas();
  if (isa.empty() || std::find(available.begin(), available.end(), isa) != available.end()) return isa;
  WARN("this processor has no " << isa << ": its best is tested");
  return "";
}

/// The cpu device with 1, 2 or 3 threads.
inline Device& Cpu(int threads) {
  static std::unique_ptr<Device> devices[3];
  std::unique_ptr<Device>& device = devices[threads - 1];
  if (!device) device = std::move(*MakeDevice("cpu", TestedIsa(), threads));
  return *device;
}

inline Device& Ref() {
  static const std::unique_ptr<Device> device = std::move(*MakeDevice("ref", "", 2));
  return *device;
}

}  // namespace bifrons
