#include "vision/vq_decoder.h"

#include <algorithm>
#include <string>

#include "src/base/stop.h"

namespace bifrons {

Result<VqDecoder> VqDecoder::Create(Device& device, const VqConfig& config, DType compute,
                                    const Fetch& fetch) {
  BIFRONS_RETURN_IF_ERROR(CheckVqConfig(config, "VQ decoder"));
  VqDecoder d;
  d.config_ = config;
  d.device_ = &device;
  d.compute_ = compute;
  d.entries_ = UnitCodebook(config, fetch);
  d.codebook_ =
      device.PackTable({d.entries_.data(), DType::kF32, {config.codebook_size, config.codebook_dim}});

  const VqBuilder build{device, compute, fetch};
  const auto& multipliers = config.channel_multiplier;
  int64_t side = config.grid, channels = config.base_channels * multipliers.back();
  d.post_quant_conv_ = build.Conv("vq.post_quant_conv", config.codebook_dim, config.latent_channels, side, 1);
  d.conv_in_ = build.Conv("vq.decoder.conv_in", config.latent_channels, channels, side, 3);
  d.mid_ = build.Mid("vq.decoder.mid", channels, side);
  for (size_t l = 0; l < multipliers.size(); l++) {
    if (StopRequested()) return Interrupted();
    const std::string name = "vq.decoder.levels." + std::to_string(l);
    const int64_t out = config.base_channels * multipliers[multipliers.size() - 1 - l];
    VqLevel level = build.Level(name, config.res_blocks + 1, channels, out, side, l == 0);
    channels = out;
    if (l + 1 < multipliers.size()) {
      side *= 2;
      level.resize = build.Conv(name + ".upsample", channels, channels, side, 3);
    }
    d.levels_.push_back(std::move(level));
  }
  d.norm_out_ = build.Norm("vq.decoder.norm_out", channels);
  d.conv_out_ = build.Conv("vq.decoder.conv_out", {.in_channels = channels,
                                                   .out_channels = config.out_channels,
                                                   .height = side,
                                                   .width = side,
                                                   .kernel = 3,
                                                   .type = compute,
                                                   .output_type = DType::kF32});
  return d;
}

// ---- memory ----------------------------------------------------------------------------------

template <class Visit>
void VqDecoder::ForEachConv(const Visit& visit) const {
  visit(*post_quant_conv_), visit(*conv_in_), visit(*conv_out_);
  bifrons::ForEachConv(mid_, visit), bifrons::ForEachConv(levels_, visit);
}

int64_t VqDecoder::LargestMap() const {
  int64_t largest = 0;
  ForEachConv([&](const Conv2d& conv) {
    const int64_t channels = &conv == conv_out_.get()
                                 ? conv.shape.in_channels
                                 : std::max(conv.shape.in_channels, conv.shape.out_channels);
    largest = std::max(largest, conv.shape.height * conv.shape.width * channels);
  });
  return largest;
}

size_t VqDecoder::WeightBytes() const {
  size_t bytes = entries_.size() * sizeof(float) + codebook_->bytes;
  ForEachConv([&](const Conv2d& conv) { bytes += conv.bytes; });
  return bytes;
}

size_t VqDecoder::ActivationBytes() const {
  const int64_t lowest = config_.tokens() * conv_in_->shape.out_channels;
  const int64_t picture = config_.image_size() * config_.image_size() * config_.out_channels;
  return BytesOf(compute_, 3 * LargestMap() + 2 * lowest) + static_cast<size_t>(picture) * sizeof(float);
}

int64_t VqDecoder::ConvolutionMacs() const {
  int64_t macs = 0;
  ForEachConv([&](const Conv2d& conv) { macs += conv.shape.macs(); });
  return macs;
}

// ---- the forward pass ------------------------------------------------------------------------

Status VqDecoder::CheckCodes(std::span<const int32_t> codes) const {
  if (static_cast<int64_t>(codes.size()) != config_.tokens()) {
    return DataError(std::to_string(codes.size()) + " codes; this model's picture has " +
                     std::to_string(config_.tokens()));
  }
  for (size_t i = 0; i < codes.size(); i++) {
    if (codes[i] < 0 || codes[i] >= config_.codebook_size) {
      return DataError("code " + std::to_string(codes[i]) + " at position " + std::to_string(i) +
                       " is outside the codebook, 0 to " + std::to_string(config_.codebook_size - 1));
    }
  }
  return {};
}

void VqDecoder::Decode(Queue& queue, View codes, View pixels) {
  const Within within(queue, "vq decoder");
  maps_.Allocate(*device_, compute_, LargestMap(), config_.tokens() * conv_in_->shape.out_channels);
  maps_.first.Reshape(post_quant_conv_->shape.in());
  queue.LookUp(*codebook_, codes, maps_.first.view().As({config_.tokens(), config_.codebook_dim}));
  maps_.Convolve(queue, *post_quant_conv_, maps_.first.view(), maps_.second);
  maps_.Convolve(queue, *conv_in_, maps_.second.view(), maps_.state);
  maps_.Mid(queue, mid_);
  for (size_t l = 0; l < levels_.size(); l++) {
    const VqLevel& level = levels_[l];
    const Within within_level(queue, "vq decoder", static_cast<int>(l));
    maps_.Level(queue, level);
    if (!level.resize) continue;
    maps_.first.Reshape(level.resize->shape.in());
    queue.Upsample2x(maps_.state.view(), maps_.first.view());
    maps_.Convolve(queue, *level.resize, maps_.first.view(), maps_.state);
  }

  maps_.Normalise(queue, norm_out_, true, maps_.state.view(), maps_.first);
  queue.Convolve(*conv_out_, maps_.first.view(), {}, pixels);
}

}  // namespace bifrons
