// The small perceptrons that bring image tokens or image features to the transformer's width.
// janus/models/projector.py: MlpProjector (mlp_gelu)
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "src/model/config.h"
#include "src/model/weight_source.h"

namespace bifrons {

class Projector {
 public:
  /// Packs "NAME.0", "NAME.1", … of `source`, `config.depth` layers.
  Projector(const Ops& ops, ThreadPool& pool, WeightSource& source, const std::string& name,
            const ProjectorConfig& config, DType compute);

  /// x [rows, input] → y [rows, output].
  void Forward(const float* x, int64_t rows, RowClass row_class, float* y);

  /// Bytes of the weights, which every call reads once.
  size_t weight_bytes() const;

 private:
  const Ops& ops_;
  ThreadPool& pool_;
  std::vector<std::unique_ptr<Linear>> layers_;
  Tensor hidden_[2];  // what stands between two layers, [rows, output], grown on demand
};

/// Packs NAME.weight and NAME.bias and lets `source` drop what it made for them.
std::unique_ptr<Linear> PackBiased(const Ops& ops, ThreadPool& pool, WeightSource& source,
                                   const std::string& name, DType compute);

}  // namespace bifrons
