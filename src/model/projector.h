// The small perceptrons that bring image tokens or image features to the transformer's width.
// janus/models/projector.py: MlpProjector (mlp_gelu)
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "src/model/config.h"
#include "src/model/weight_source.h"

namespace bifrons {

class Projector {
 public:
  /// Packs "NAME.0", "NAME.1", … of `source`, `config.depth` layers.
  Projector(Device& device, WeightSource& source, const std::string& name, const ProjectorConfig& config,
            DType compute);

  /// x f32 [rows, input] → y f32 [rows, output]. All calls are for one queue, as they share buffers.
  void Forward(Queue& queue, View x, RowClass row_class, View y);

  /// Bytes of the weights, which every call reads once.
  size_t weight_bytes() const;

 private:
  Device& device_;
  std::vector<std::unique_ptr<Linear>> layers_;
  DeviceTensor hidden_[2];  // what stands between two layers, f32 [rows, output], grown on demand
};

/// Packs NAME.weight and NAME.bias and lets `source` drop what it made for them.
std::unique_ptr<Linear> PackBiased(Device& device, WeightSource& source, const std::string& name,
                                   DType compute);

}  // namespace bifrons
