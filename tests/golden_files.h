// Numbers that PyTorch wrote, and what is compared with them on every way to compute.
#pragma once

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/device.h"
#include "src/base/npy.h"
#include "tests/run_program.h"

namespace bifrons {

inline const fs::path kGoldens = fs::path(BIFRONS_TEST_DIR) / "goldens";

inline Tensor Load(const fs::path& path) {
  INFO(path.string());
  auto tensor = ReadNpy(path.string());
  REQUIRE(tensor.ok());
  return std::move(tensor).value();
}

inline std::vector<float> Floats(const fs::path& path) {
  const Tensor t = Load(path);
  REQUIRE(t.dtype() == DType::kF32);
  return {t.as<float>(), t.as<float>() + t.shape().elements()};
}

inline std::vector<int32_t> Ints(const fs::path& path) {
  const Tensor t = Load(path);
  REQUIRE(t.dtype() == DType::kI32);
  return {t.as<int32_t>(), t.as<int32_t>() + t.shape().elements()};
}

inline double Deviation(const std::vector<float>& x) {
  double sum = 0, squares = 0;
  for (const float v : x) sum += v, squares += double{v} * v;
  const double mean = sum / static_cast<double>(x.size());
  return std::sqrt(std::max(0.0, squares / static_cast<double>(x.size()) - mean * mean));
}

inline double LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); i++) {
    const double difference = std::abs(double{a[i]} - double{b[i]});
    if (!(difference <= largest)) largest = difference;  // NaN shows as well
  }
  return largest;
}

inline double SquaredError(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double sum = 0;
  for (size_t i = 0; i < a.size(); i++) sum += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  return sum;
}

}  // namespace bifrons
