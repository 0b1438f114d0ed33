#include "vision/vq_encoder.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>

namespace bifrons {

Result<VqEncoder> VqEncoder::Create(ThreadPool& pool, const Ops& ops, const VqConfig& config, DType compute,
                                    const Fetch& fetch) {
  BIFRONS_RETURN_IF_ERROR(CheckVqConfig(config, "VQ encoder"));
  if (config.res_blocks < 1)
    return DataError("VQ encoder: a level needs a residual block to change its width");
  VqEncoder e;
  e.config_ = config;
  e.ops_ = &ops;
  e.compute_ = compute;

  const VqBuilder build{pool, ops, compute, fetch};
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

  const std::vector<float> codebook = UnitCodebook(config, fetch);
  const int64_t size = config.codebook_size, dim = config.codebook_dim;
  e.codebook_.resize(codebook.size());
  e.squares_.resize(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; i++) {
    for (int64_t j = 0; j < dim; j++) {
      const float x = codebook[static_cast<size_t>(i * dim + j)];
      e.codebook_[static_cast<size_t>(j * size + i)] = x;
      e.squares_[static_cast<size_t>(i)] += x * x;
    }
  }
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
  size_t bytes = (codebook_.size() + squares_.size()) * sizeof(float);
  ForEachConv([&](const Conv2d& conv) { bytes += conv.bytes; });
  return bytes;
}

size_t VqEncoder::ActivationBytes() const {
  return static_cast<size_t>(3 * LargestMap() + 2 * LowestMap()) * SizeOf(compute_);
}

int64_t VqEncoder::ConvolutionMacs() const {
  int64_t macs = 0;
  ForEachConv([&](const Conv2d& conv) { macs += conv.shape.macs(); });
  return macs;
}

// ---- the forward pass ------------------------------------------------------------------------

Result<Tensor> VqEncoder::Latents(ThreadPool& pool, TensorView pixels) {
  const Shape picture{config_.image_size(), config_.image_size(), 3};
  if (pixels.shape != picture || pixels.dtype != DType::kF32) {
    return DataError("VQ encoder: pixels " + pixels.shape.ToString() + "; this model reads " +
                     picture.ToString());
  }
  maps_.Allocate(compute_, LargestMap(), LowestMap());
  maps_.first.Reshape(picture);
  const int64_t n = picture.elements();
  for (int64_t i = 0; i < n && compute_ == DType::kBF16; i++) {
    maps_.first.as<BF16>()[i] = ToBF16(pixels.as<float>()[i]);
  }
  const TensorView in = compute_ == DType::kBF16 ? maps_.first.view() : pixels;
  maps_.Convolve(pool, *ops_, *conv_in_, in, maps_.state);
  for (const VqLevel& level : levels_) {
    maps_.Level(pool, *ops_, level);
    if (!level.resize) continue;
    maps_.Convolve(pool, *ops_, *level.resize, maps_.state.view(), maps_.first);
    std::swap(maps_.state, maps_.first);
  }
  maps_.Mid(pool, *ops_, mid_);
  maps_.Normalise(pool, *ops_, norm_out_, true, maps_.state.view(), maps_.first);
  maps_.Convolve(pool, *ops_, *conv_out_, maps_.first.view(), maps_.second);
  Tensor z(compute_, {config_.grid, config_.grid, config_.codebook_dim});
  maps_.Convolve(pool, *ops_, *quant_conv_, maps_.second.view(), z);
  if (compute_ == DType::kF32) return z;
  Tensor widened(DType::kF32, z.shape());
  for (int64_t i = 0; i < z.shape().elements(); i++) widened.as<float>()[i] = ElementAt(z.view(), i);
  return widened;
}

// d = z² + e² − 2·z·e, the smallest wins.  [janus/models/vq_model.py: VectorQuantizer.forward]
std::vector<int32_t> VqEncoder::Quantise(ThreadPool& pool, TensorView latents) const {
  const int64_t size = config_.codebook_size, dim = config_.codebook_dim;
  const int64_t n = latents.shape.elements() / dim;
  std::vector<int32_t> codes(static_cast<size_t>(n));
  pool.ParallelFor(n, [&](int64_t begin, int64_t end, int) {
    constexpr int64_t kBlock = 256;  // entries; their distances stay in the L1 cache
    std::array<float, kBlock> dots;
    std::vector<float> z(static_cast<size_t>(dim));
    for (int64_t p = begin; p < end; p++) {
      std::copy_n(latents.as<float>() + p * dim, dim, z.data());
      ScaleToUnit(z.data(), dim);
      float own = 0;
      for (const float x : z) own += x * x;
      float nearest = std::numeric_limits<float>::infinity();
      int64_t code = 0;
      for (int64_t first = 0; first < size; first += kBlock) {
        const int64_t block = std::min(kBlock, size - first);
        dots.fill(0);
        for (int64_t j = 0; j < dim; j++) {
          const float* column = codebook_.data() + j * size + first;
          const float x = z[static_cast<size_t>(j)];
          for (int64_t i = 0; i < block; i++) dots[static_cast<size_t>(i)] += x * column[i];
        }
        for (int64_t i = 0; i < block; i++) {
          const float distance =
              own + squares_[static_cast<size_t>(first + i)] - 2 * dots[static_cast<size_t>(i)];
          if (distance < nearest) nearest = distance, code = first + i;
        }
      }
      codes[static_cast<size_t>(p)] = static_cast<int32_t>(code);
    }
  });
  return codes;
}

Result<std::vector<int32_t>> VqEncoder::Encode(ThreadPool& pool, TensorView pixels) {
  BIFRONS_TRY(const Tensor latents, Latents(pool, pixels));
  return Quantise(pool, latents.view());
}

}  // namespace bifrons
