#include "src/model/projector.h"

namespace bifrons {

std::unique_ptr<Linear> PackBiased(const Ops& ops, ThreadPool& pool, WeightSource& source,
                                   const std::string& name, DType compute) {
  const TensorView weight = source.Get(name + ".weight");
  auto linear = ops.pack_linear(pool, {&weight, 1}, source.Get(name + ".bias"), compute);
  source.Release(name + ".weight");
  return linear;
}

Projector::Projector(const Ops& ops, ThreadPool& pool, WeightSource& source, const std::string& name,
                     const ProjectorConfig& config, DType compute)
    : ops_(ops), pool_(pool) {
  for (int64_t i = 0; i < config.depth; i++) {
    layers_.push_back(PackBiased(ops, pool, source, name + "." + std::to_string(i), compute));
  }
}

void Projector::Forward(const float* x, int64_t rows, RowClass row_class, float* y) {
  const int64_t width = layers_.back()->out;
  if (hidden_[0].empty() || hidden_[0].shape()[0] < rows) {
    for (Tensor& hidden : hidden_) hidden = Tensor(DType::kF32, {rows, width});
  }
  // The first layer takes the raw input; GELU stands before every further one.
  for (size_t i = 0; i < layers_.size(); i++) {
    float* out = i + 1 == layers_.size() ? y : hidden_[i % 2].as<float>();
    ops_.linear(pool_, *layers_[i], x, rows, row_class, false, out);
    if (i + 1 < layers_.size()) ops_.gelu(pool_, out, rows * width);
    x = out;
  }
}

size_t Projector::weight_bytes() const {
  size_t bytes = 0;
  for (const auto& layer : layers_) bytes += layer->bytes;
  return bytes;
}

}  // namespace bifrons
