// Weights that tests/goldens/make_vq.py and make_siglip.py make from the same formula, so that only results
// are stored.
#pragma once

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "src/model/tensor_table.h"

namespace bifrons {

/// Uniform in [-1, 1), multiples of 2^-7.
inline std::vector<float> Noise(const std::string& name, int64_t count) {
  uint32_t state = 2166136261u;
  for (const char c : name) state = (state ^ static_cast<uint8_t>(c)) * 16777619u;
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); i++) {
    uint32_t x = static_cast<uint32_t>(i) * 2654435769u + state;
    for (int round = 0; round < 2; round++) x = (x ^ (x >> 16)) * 0x45D9F3Bu;
    values[i] = (static_cast<float>(x >> 24) - 128) / 128;
  }
  return values;
}

inline Tensor NoiseTensor(const std::string& name, Shape shape) {
  const std::vector<float> values = Noise(name, shape.elements());
  Tensor t(DType::kF32, shape);
  std::copy(values.begin(), values.end(), t.as<float>());
  return t;
}

/// A Fetch: every tensor of the config's table, of values that bf16 holds.
class NoiseWeights {
 public:
  NoiseWeights(const JanusConfig& config, DType stored) : stored_(stored) {
    for (const TensorSpec& spec : TensorTable(config)) shapes_[spec.name] = spec.shape;
  }

  TensorView operator()(const std::string& name) {
    const Shape shape = shapes_.at(name);
    std::vector<float> values = Noise(name, shape.elements());
    float scale = 1, shift = 0;
    if (name.find(".norm") != std::string::npos) {
      scale = 0.25f, shift = name.ends_with("weight") ? 1 : 0;
    } else if (name.ends_with(".bias")) {
      scale = 0.125f;
    } else if (name != "vq.codebook") {
      scale = 2.0f / std::sqrt(static_cast<float>(shape.elements() / shape[0]));
    }
    Tensor t(stored_, shape);
    for (size_t i = 0; i < values.size(); i++) {
      const BF16 value = ToBF16(shift + values[i] * scale);
      if (stored_ == DType::kBF16) {
        t.as<BF16>()[i] = value;
      } else {
        t.as<float>()[i] = ToFloat(value);
      }
    }
    return (tensors_[name] = std::move(t)).view();
  }

  /// Forgets what was fetched under that name; asking for a view after that is a bug that ASan sees.
  void Release(const std::string& name) { tensors_.erase(name); }
  /// Tensors fetched and not released.
  size_t held() const { return tensors_.size(); }

 private:
  std::map<std::string, Shape> shapes_;
  DType stored_;
  std::map<std::string, Tensor> tensors_;
};

inline double RmsDifference(const Tensor& a, const Tensor& b) {
  BIFRONS_CHECK(a.shape() == b.shape());
  double squares = 0;
  for (int64_t i = 0; i < a.shape().elements(); i++) {
    const double d = static_cast<double>(a.as<float>()[i]) - b.as<float>()[i];
    squares += d * d;
  }
  return std::sqrt(squares / static_cast<double>(a.shape().elements()));
}

/// NaN where an element is.
inline double LargestDifference(const Tensor& a, const Tensor& b) {
  BIFRONS_CHECK(a.shape() == b.shape());
  double largest = 0;
  for (int64_t i = 0; i < a.shape().elements(); i++) {
    const double d = std::abs(static_cast<double>(a.as<float>()[i]) - b.as<float>()[i]);
    if (!(d <= largest)) largest = d;
    if (std::isnan(largest)) break;
  }
  return largest;
}

}  // namespace bifrons
