#include "src/model/projector.h"

namespace bifrons {

std::unique_ptr<Linear> PackBiased(Device& device, WeightSource& source, const std::string& name,
                                   DType compute) {
  const TensorView weight = source.Get(name + ".weight");
  auto linear = device.PackLinear({&weight, 1}, source.Get(name + ".bias"), compute);
  source.Release(name + ".weight"), source.Release(name + ".bias");
  return linear;
}

Projector::Projector(Device& device, WeightSource& source, const std::string& name,
                     const ProjectorConfig& config, DType compute)
    : device_(device) {
  for (int64_t i = 0; i < config.depth; i++) {
    layers_.push_back(PackBiased(device, source, name + "." + std::to_string(i), compute));
  }
}

void Projector::Forward(Queue& queue, View x, RowClass row_class, View y) {
  // The first layer takes the raw input; GELU stands before every further one.
  for (size_t i = 0; i + 1 < layers_.size(); i++) {
    const View hidden = Grown(device_, hidden_[i % 2], x.rows(), layers_[i]->out);
    queue.Multiply(*layers_[i], x, row_class, Epilogue::kGelu, hidden);
    x = hidden;
  }
  queue.Multiply(*layers_.back(), x, row_class, Epilogue::kNone, y);
}

size_t Projector::weight_bytes() const {
  size_t bytes = 0;
  for (const auto& layer : layers_) bytes += layer->bytes;
  return bytes;
}

}  // namespace bifrons
