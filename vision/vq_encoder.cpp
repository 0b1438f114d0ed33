#include "vision/vq_encoder.h"

#include <algorithm>
#include <string>

namespace bifrons {

Result<VqEncoder> VqEncoder::Create(Device& device, const VqConfig& config, DType compute,
                                    const Fetch& fetch) {
  BIFRONS_RETURN_IF_ERROR(CheckVqConfig(config, "VQ encoder"));
  if (config.res_blocks < 1)
    return DataError("VQ encoder: a level needs a residual block to change its width");
  VqEncoder e;
  e.config_ = config;
  e.device_ = &device;
  e.compute_ = compute;

  const VqBuilder build{device, compute, fetch};
  const auto& multipliers = config.channel_multiplier;
  int64_t side = config.image_size(), channels = config.base_channels;
  e.conv_in_ = build.Conv("vq.encoder.conv_in", 3, channels, side, 3);
  for (size_t l = 0; l < multipliers.size(); l++) {
    const std::string name = "vq.encoder.levels." + std::to_string(l);
    const int64_t out = config.base_channels * multipliers[l];
    const bool lowest = l + 1 == multipliers.size();
    VqLevel level = build.Level(name, config.res_blocks, channels, out, side, lowest);
    channels = out;
    if (!lowest) {
      level.resize = build.Conv(name + ".downsample", channels, channels, side, 3, 2);
      side /= 2;
    }
    e.levels_.push_back(std::move(level));
  }
  e.mid_ = build.Mid("vq.encoder.mid", channels, side);
  e.norm_out_ = build.Norm("vq.encoder.norm_out", channels);
  e.conv_out_ = build.Conv("vq.encoder.conv_out", channels, config.latent_channels, side, 3);
  e.quant_conv_ = build.Conv("vq.quant_conv", config.latent_channels, config.codebook_dim, side, 1);

  const std::vector<float> entries = UnitCodebook(config, fetch);
  const int64_t size = config.codebook_size, dim = config.codebook_dim;
  std::vector<float> columns(entries.size()), squares(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; i++) {
    for (int64_t j = 0; j < dim; j++) {
      const float x = entries[static_cast<size_t>(i * dim + j)];
      columns[static_cast<size_t>(j * size + i)] = x;
      squares[static_cast<size_t>(i)] += x * x;
    }
  }
  e.codebook_ = device.PackTensor({columns.data(), DType::kF32, {dim, size}});
  e.squares_ = device.PackVector(squares);
  return e;
}

// ---- memory ----------------------------------------------------------------------------------

template <class Visit>
void VqEncoder::ForEachConv(const Visit& visit) const {
  visit(*conv_in_), visit(*conv_out_), visit(*quant_conv_);
  bifrons::ForEachConv(levels_, visit), bifrons::ForEachConv(mid_, visit);
}

int64_t VqEncoder::LargestMap() const {
  int64_t largest = 0;
  ForEachConv([&](const Conv2d& conv) {
    const ConvShape& s = conv.shape;
    largest = std::max(
        {largest, s.height * s.width * s.in_channels, s.out_height() * s.out_width() * s.out_channels});
  });
  return largest;
}

int64_t VqEncoder::LowestMap() const { return config_.tokens() * conv_out_->shape.in_channels; }

size_t VqEncoder::WeightBytes() const {
  size_t bytes = codebook_.bytes() + squares_.bytes();
  ForEachConv([&](const Conv2d& conv) { bytes += conv.bytes; });
  return bytes;
}

size_t VqEncoder::ActivationBytes() const { return BytesOf(compute_, 3 * LargestMap() + 2 * LowestMap()); }

int64_t VqEncoder::ConvolutionMacs() const {
  int64_t macs = 0;
  ForEachConv([&](const Conv2d& conv) { macs += conv.shape.macs(); });
  return macs;
}

// ---- the forward pass ------------------------------------------------------------------------

DeviceTensor VqEncoder::Latents(Queue& queue, View pixels) {
  const Within within(queue, "vq encoder");
  maps_.Allocate(*device_, compute_, LargestMap(), LowestMap());
  maps_.first.Reshape(conv_in_->shape.in());
  queue.Copy(pixels, maps_.first.view());
  maps_.Convolve(queue, *conv_in_, maps_.first.view(), maps_.state);
  for (size_t l = 0; l < levels_.size(); l++) {
    const VqLevel& level = levels_[l];
    const Within within_level(queue, "vq encoder", static_cast<int>(l));
    maps_.Level(queue, level);
    if (!level.resize) continue;
    maps_.Convolve(queue, *level.resize, maps_.state.view(), maps_.first);
    std::swap(maps_.state, maps_.first);
  }
  maps_.Mid(queue, mid_);
  maps_.Normalise(queue, norm_out_, true, maps_.state.view(), maps_.first);
  maps_.Convolve(queue, *conv_out_, maps_.first.view(), maps_.second);
  maps_.Convolve(queue, *quant_conv_, maps_.second.view(), maps_.first);
  DeviceTensor z = device_->NewTensor(DType::kF32, quant_conv_->shape.out());
  queue.Copy(maps_.first.view(), z.view());
  return z;
}

// d = z² + e² − 2·z·e, the smallest wins.  [janus/models/vq_model.py: VectorQuantizer.forward]
void VqEncoder::Quantise(Queue& queue, View z, View codes) const {
  const Within within(queue, "vq encoder");
  queue.NearestCodeword(z, codebook_.view(), squares_.view(), codes);
}

void VqEncoder::Encode(Queue& queue, View pixels, View codes) {
  const DeviceTensor z = Latents(queue, pixels);
  Quantise(queue, z.view().As({config_.tokens(), config_.codebook_dim}), codes);
}

}  // namespace bifrons
