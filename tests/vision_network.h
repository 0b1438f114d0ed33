// What the tests of the vision networks share: devices, PyTorch's results, and what every network must do.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "src/base/npy.h"
#include "tests/deferred_device.h"
#include "tests/noise_weights.h"

namespace bifrons {

/// "cpu", "ref" or "deferred". "cpu" has the set that tests.cmake names, or the best where this processor
/// lacks it: oneDNN's is chosen once per process.
inline std::unique_ptr<Device> TestDevice(const std::string& name, int threads) {
  if (name == "deferred") return MakeDeferredDevice(/*seed=*/1, threads);
  const char* wanted = std::getenv("BIFRONS_TEST_ISA");
  std::string isa = wanted && name == "cpu" ? wanted : "";
  const auto available = AvailableIsas();
  if (std::find(available.begin(), available.end(), isa) == available.end()) isa = "";
  auto device = MakeDevice(name, isa, threads);
  BIFRONS_CHECK(device.ok());
  return std::move(device).value();
}

/// goldens/{name}.npy
inline Tensor ReadGolden(const std::string& name) {
  auto t = ReadNpy(std::string(BIFRONS_TEST_DIR) + "/goldens/" + name + ".npy");
  BIFRONS_CHECK(t.ok(), "no golden %s", name.c_str());
  return std::move(t).value();
}

/// A model of which the network is a part.
inline JanusConfig Around(const VqConfig& vq) {
  JanusConfig config;
  config.vq = vq;
  config.has_vision = false;
  return config;
}
inline JanusConfig Around(const SiglipConfig& vision) {
  JanusConfig config;
  config.vq.channel_multiplier = {1};
  config.vision = vision;
  return config;
}

/// A network of noise, which has let go of every weight.
template <class Network, class Config>
Network OfNoise(Device& device, const Config& config, DType compute, DType stored) {
  NoiseWeights weights(Around(config), stored);
  auto network = Network::Create(
      device, config, compute, {std::ref(weights), [&](const std::string& name) { weights.Release(name); }});
  REQUIRE(network.ok());
  CHECK(weights.held() == 0);
  return std::move(network).value();
}

/// The message with which a shape is refused, before any weight was asked for.
template <class Network, class Config>
std::string Refusal(const Config& config) {
  const auto device = TestDevice("ref", 1);
  auto wrong = Network::Create(*device, config, DType::kF32, [](const std::string&) -> TensorView {
    FAIL("asked for a tensor of an impossible network");
    return {};
  });
  REQUIRE(!wrong.ok());
  CHECK(wrong.error().kind == ErrorKind::kBadData);
  return wrong.error().message;
}

/// A network, and what it is given.
struct VisionCase {
  using Forward = std::function<DeviceTensor(Queue& queue, View input)>;  // to f32

  std::string golden;   // goldens/{golden}_f32.npy, …_bf16.npy: PyTorch's results of `input`
  Tensor input, other;  // two inputs
  /// Packs the network for `compute`, of weights that are stored as `stored`.
  std::function<Forward(Device& device, DType compute, DType stored)> make;
};

inline Tensor Run(const VisionCase& c, const std::string& device_name, DType compute, DType stored) {
  const auto device = TestDevice(device_name, 2);
  const auto queue = device->MakeQueue();
  const VisionCase::Forward forward = c.make(*device, compute, stored);
  const DeviceTensor input = device->PackTensor(c.input.view());
  return queue->Fetch(forward(*queue, input.view()).view());
}

inline void CheckF32(const VisionCase& c, double tolerance) {
  const Tensor golden = ReadGolden(c.golden + "_f32");
  for (const char* device : {"ref", "cpu"}) {
    for (const DType stored : {DType::kF32, DType::kBF16}) {
      INFO(c.golden << " " << device << " stored " << NameOf(stored));
      CHECK(LargestDifference(Run(c, device, DType::kF32, stored), golden) < tolerance);
    }
  }
}

/// RMS of what PyTorch's bf16 changes in its f32 results.
inline double TorchBF16Error(const std::string& golden) {
  return RmsDifference(ReadGolden(golden + "_bf16"), ReadGolden(golden + "_f32"));
}

/// With compute bf16 the results differ from `exact`, but by less than `limit` (RMS).
inline void CheckBF16(const VisionCase& c, const Tensor& exact, double limit) {
  for (const char* device : {"ref", "cpu"}) {
    INFO(c.golden << " " << device);
    const double ours = RmsDifference(Run(c, device, DType::kBF16, DType::kBF16), exact);
    CHECK(ours > 0);
    CHECK(ours < limit);
  }
}

/// Results depend neither on the thread count nor on the picture before, nor on when the work is done.
inline void CheckSameBits(const VisionCase& c) {
  const auto same = [](const Tensor& a, const Tensor& b) {
    return a.bytes() == b.bytes() && std::memcmp(a.data(), b.data(), a.bytes()) == 0;
  };
  struct Place {
    const char* device;
    int threads;
  };
  const std::vector<Place> places[] = {{{"cpu", 1}, {"cpu", 2}, {"cpu", 3}}, {{"ref", 1}, {"deferred", 1}}};
  for (const auto& same_arithmetic : places) {
    for (const DType compute : {DType::kF32, DType::kBF16}) {
      Tensor first;
      for (const auto& [name, threads] : same_arithmetic) {
        INFO(c.golden << " " << NameOf(compute) << " " << name << ", " << threads << " threads");
        const auto device = TestDevice(name, threads);
        const auto queue = device->MakeQueue();
        const VisionCase::Forward forward = c.make(*device, compute, DType::kBF16);
        const DeviceTensor input = device->PackTensor(c.input.view());
        const DeviceTensor other = device->PackTensor(c.other.view());
        const DeviceTensor before = forward(*queue, input.view());
        const DeviceTensor between = forward(*queue, other.view());
        const DeviceTensor after = forward(*queue, input.view());
        if (first.empty()) first = queue->Fetch(before.view());
        CHECK(same(queue->Fetch(before.view()), first));
        CHECK(!same(queue->Fetch(between.view()), first));
        CHECK(same(queue->Fetch(after.view()), first));
      }
    }
  }
}

}  // namespace bifrons
