// Whether a device computes what the others do, and how near it comes to its limits: what is behind
// `selftest`.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "kernels/op_matrix/op_matrix.h"
#include "src/base/result.h"

namespace bifrons {

/// Makes the device to be tested; each call another one of the same.
using DeviceMaker = std::function<Result<std::unique_ptr<Device>>()>;

struct SelftestSettings {
  std::string ops;  // OpSelection::text
  int threads = 1;  // the host's, of the devices beside which it is tested
};

/// The odd cases of the op matrix, judged by the ref device.
struct OpsCheck {
  int64_t cases = 0;
  std::vector<OpResult> wrong;
  double seconds = 0;
  std::string error;  // what ended it early, and where; "" = nothing

  bool passed() const { return error.empty() && cases > 0 && wrong.empty(); }
};

/// How many steps of sequences are the same up to the first difference of each.
struct Agreement {
  int64_t steps = 0, agreed = 0;
};

/// The bundled model in one arithmetic, on the tested device and on another.
struct ModelComparison {
  DType compute = DType::kF32;
  Agreement codes;   // of three pictures, drawn together
  Agreement tokens;  // of the description of the first, as the other device drew it; its end is a token
  std::string description;
  int most_apart = 0;  // pixels of the pictures whose codes agree, of 255
  double seconds = 0, other_seconds = 0;

  /// In f32 sums differ in their last bits: 1 % of all steps may come after a near-tie that parted, and a
  /// pixel may fall to the next integer. In bf16 each device rounds at places of its own, and all is right.
  bool passed() const;
};

struct ModelCheck {
  std::string other;  // "cpu avx512", "ref scalar"
  std::vector<ModelComparison> comparisons;
  std::string error;

  bool passed() const;
};

/// An op at a published model's shape, and the arithmetic whose limit holds for it.
struct RooflinePoint {
  OpSpeed speed;
  DType compute = DType::kF32;
};

struct Roofline {
  double bandwidth = 0;  // bytes/s
  double f32_mac_rate = 0, bf16_mac_rate = 0;
  std::vector<RooflinePoint> points;  // none of the ref device, which takes minutes over them
  double seconds = 0;
  std::string error;

  double mac_rate(DType compute) const { return compute == DType::kF32 ? f32_mac_rate : bf16_mac_rate; }
  bool passed() const { return error.empty(); }
};

struct Selftest {
  std::string device, backend, isa;  // Device::name() and so on
  std::string convolutions;          // Device::convolution_library()
  uint64_t free_memory = 0;          // bytes, before anything was done
  OpsCheck ops;
  ModelCheck model;
  Roofline roofline;
  double seconds = 0;

  bool passed() const { return ops.passed() && model.passed() && roofline.passed(); }
};

/// How much is done, 0…1, and what is being done.
using SelftestProgress = std::function<void(double share, const std::string& what)>;

/// Tests the device in all three ways; one that ends with an error does not keep the next from being tried.
/// Errors: no op has the text that settings.ops asks for (kUsage), there is no device, Interrupted().
Result<Selftest> RunSelftest(const DeviceMaker& make, const SelftestSettings& settings,
                             const SelftestProgress& progress);

}  // namespace bifrons
