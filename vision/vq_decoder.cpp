#include "vision/vq_decoder.h"

#include <algorithm>
#include <string>

#include "src/base/stop.h"

namespace bifrons {

Result<VqDecoder> VqDecoder::Create(ThreadPool& pool, const Ops& ops, const VqConfig& config, DType compute,
                                    const Fetch& fetch) {
  BIFRONS_RETURN_IF_ERROR(CheckVqConfig(config, "VQ decoder"));
  VqDecoder d;
  d.config_ = config;
  d.ops_ = &ops;
  d.compute_ = compute;
  d.codebook_ = UnitCodebook(config, fetch);

  const VqBuilder build{pool, ops, compute, fetch};
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
  d.conv_out_ = build.Conv("vq.decoder.conv_out", channels, config.out_channels, side, 3);
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
  size_t bytes = codebook_.size() * sizeof(float);
  ForEachConv([&](const Conv2d& conv) { bytes += conv.bytes; });
  return bytes;
}

size_t VqDecoder::ActivationBytes() const {
  const int64_t lowest = config_.tokens() * conv_in_->shape.out_channels;
  const int64_t picture = config_.image_size() * config_.image_size() * config_.out_channels;
  return static_cast<size_t>(3 * LargestMap() + 2 * lowest) * SizeOf(compute_) +
         static_cast<size_t>(picture) * sizeof(float);
}

int64_t VqDecoder::ConvolutionMacs() const {
  int64_t macs = 0;
  ForEachConv([&](const Conv2d& conv) { macs += conv.shape.macs(); });
  return macs;
}

// ---- the forward pass ------------------------------------------------------------------------

void VqDecoder::LookUp(std::span<const int32_t> codes, Tensor& out) const {
  out.Reshape({config_.grid, config_.grid, config_.codebook_dim});
  for (int64_t i = 0; i < config_.tokens(); i++) {
    const float* row = codebook_.data() + codes[static_cast<size_t>(i)] * config_.codebook_dim;
    for (int64_t j = 0; j < config_.codebook_dim; j++) {
      const int64_t at = i * config_.codebook_dim + j;
      if (compute_ == DType::kBF16) {
        out.as<BF16>()[at] = ToBF16(row[j]);
      } else {
        out.as<float>()[at] = row[j];
      }
    }
  }
}

Result<Tensor> VqDecoder::Decode(ThreadPool& pool, std::span<const int32_t> codes) {
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
  maps_.Allocate(compute_, LargestMap(), config_.tokens() * conv_in_->shape.out_channels);
  LookUp(codes, maps_.first);
  maps_.Convolve(pool, *ops_, *post_quant_conv_, maps_.first.view(), maps_.second);
  maps_.Convolve(pool, *ops_, *conv_in_, maps_.second.view(), maps_.state);
  maps_.Mid(pool, *ops_, mid_);
  for (const VqLevel& level : levels_) {
    maps_.Level(pool, *ops_, level);
    if (!level.resize) continue;
    const Shape& shape = maps_.state.shape();
    maps_.first.Reshape({2 * shape[0], 2 * shape[1], shape[2]});
    ops_->upsample2x(pool, maps_.state.view(), maps_.first);
    maps_.Convolve(pool, *ops_, *level.resize, maps_.first.view(), maps_.state);
  }

  maps_.Normalise(pool, *ops_, norm_out_, true, maps_.state.view(), maps_.first);
  Tensor pixels(DType::kF32, {config_.image_size(), config_.image_size(), config_.out_channels});
  ops_->conv2d(pool, *conv_out_, maps_.first.view(), {}, pixels);
  return pixels;
}

}  // namespace bifrons
