#include "vision/vq_decoder.h"

#include <algorithm>
#include <cmath>

namespace bifrons {
namespace {

/// Everything that building the network needs to know.
struct Builder {
  ThreadPool& pool;
  const Ops& ops;
  DType compute;
  const VqDecoder::Fetch& fetch;

  VqNorm Norm(const std::string& name, int64_t channels) const {
    VqNorm norm{ToFloats(fetch(name + ".weight")), ToFloats(fetch(name + ".bias"))};
    BIFRONS_CHECK(static_cast<int64_t>(norm.gamma.size()) == channels &&
                  norm.beta.size() == norm.gamma.size());
    return norm;
  }

  std::unique_ptr<Conv2d> Conv(const std::string& name, int64_t in, int64_t out, int64_t side,
                               int kernel) const {
    const ConvShape shape{in, out, side, side, kernel};
    return ops.pack_conv(pool, shape, fetch(name + ".weight"), fetch(name + ".bias"), compute);
  }

  VqResBlock ResBlock(const std::string& name, int64_t in, int64_t out, int64_t side) const {
    VqResBlock block;
    block.norm1 = Norm(name + ".norm1", in);
    block.conv1 = Conv(name + ".conv1", in, out, side, 3);
    block.norm2 = Norm(name + ".norm2", out);
    block.conv2 = Conv(name + ".conv2", out, out, side, 3);
    if (in != out) block.shortcut = Conv(name + ".shortcut", in, out, side, 1);
    return block;
  }

  VqAttention Attention(const std::string& name, int64_t channels, int64_t side) const {
    return {Norm(name + ".norm", channels), Conv(name + ".q", channels, channels, side, 1),
            Conv(name + ".k", channels, channels, side, 1), Conv(name + ".v", channels, channels, side, 1),
            Conv(name + ".out", channels, channels, side, 1)};
  }
};

Status CheckConfig(const VqConfig& c) {
  const auto wrong = [](const std::string& what) { return DataError("VQ decoder: " + what); };
  if (c.codebook_size < 1 || c.codebook_dim < 1) return wrong("an empty codebook");
  if (c.latent_channels < 1) return wrong("latent channels must be positive");
  if (c.grid < 1) return wrong("the token grid must be positive");
  if (c.res_blocks < 0) return wrong("residual blocks must not be negative");
  if (c.out_channels != 3) {
    return wrong(std::to_string(c.out_channels) + " output channels; a picture has 3");
  }
  if (c.channel_multiplier.empty()) return wrong("no channel multipliers");
  for (const int64_t multiplier : c.channel_multiplier) {
    const int64_t channels = c.base_channels * multiplier;
    if (channels < 1 || channels % VqConfig::kNormGroups != 0) {
      return wrong(std::to_string(c.base_channels) + "·" + std::to_string(multiplier) +
                   " channels are not a positive multiple of the " + std::to_string(VqConfig::kNormGroups) +
                   " normalisation groups");
    }
  }
  return {};
}

}  // namespace

Result<VqDecoder> VqDecoder::Create(ThreadPool& pool, const Ops& ops, const VqConfig& config, DType compute,
                                    const Fetch& fetch) {
  BIFRONS_RETURN_IF_ERROR(CheckConfig(config));
  VqDecoder d;
  d.config_ = config;
  d.ops_ = &ops;
  d.compute_ = compute;

  d.codebook_ = ToFloats(fetch("vq.codebook"));
  BIFRONS_CHECK(static_cast<int64_t>(d.codebook_.size()) == config.codebook_size * config.codebook_dim);
  for (int64_t i = 0; i < config.codebook_size; i++) {
    float* row = d.codebook_.data() + i * config.codebook_dim;
    float squares = 0;
    for (int64_t j = 0; j < config.codebook_dim; j++) squares += row[j] * row[j];
    const float norm = std::max(std::sqrt(squares), 1e-12f);
    for (int64_t j = 0; j < config.codebook_dim; j++) row[j] /= norm;
  }

  const Builder build{pool, ops, compute, fetch};
  const auto& multipliers = config.channel_multiplier;
  int64_t side = config.grid, channels = config.base_channels * multipliers.back();
  d.post_quant_conv_ = build.Conv("vq.post_quant_conv", config.codebook_dim, config.latent_channels, side, 1);
  d.conv_in_ = build.Conv("vq.decoder.conv_in", config.latent_channels, channels, side, 3);
  d.mid_res0_ = build.ResBlock("vq.decoder.mid.res0", channels, channels, side);
  d.mid_attn_ = build.Attention("vq.decoder.mid.attn", channels, side);
  d.mid_res1_ = build.ResBlock("vq.decoder.mid.res1", channels, channels, side);
  for (size_t l = 0; l < multipliers.size(); l++) {
    const std::string name = "vq.decoder.levels." + std::to_string(l);
    const int64_t out = config.base_channels * multipliers[multipliers.size() - 1 - l];
    VqLevel level;
    for (int64_t b = 0; b <= config.res_blocks; b++) {
      level.res.push_back(build.ResBlock(name + ".res." + std::to_string(b), channels, out, side));
      channels = out;
      if (l == 0) level.attn.push_back(build.Attention(name + ".attn." + std::to_string(b), channels, side));
    }
    if (l + 1 < multipliers.size()) {
      side *= 2;
      level.upsample = build.Conv(name + ".upsample", channels, channels, side, 3);
    }
    d.levels_.push_back(std::move(level));
  }
  d.norm_out_ = build.Norm("vq.decoder.norm_out", channels);
  d.conv_out_ = build.Conv("vq.decoder.conv_out", channels, config.out_channels, side, 3);
  return d;
}

// ---- memory
// ------------------------------------------------------------------------------------------------

template <class Visit>
void VqDecoder::ForEachConv(const Visit& visit) const {
  const auto res = [&](const VqResBlock& block) {
    visit(*block.conv1), visit(*block.conv2);
    if (block.shortcut) visit(*block.shortcut);
  };
  const auto attention = [&](const VqAttention& a) { visit(*a.q), visit(*a.k), visit(*a.v), visit(*a.out); };
  visit(*post_quant_conv_), visit(*conv_in_), visit(*conv_out_);
  res(mid_res0_), attention(mid_attn_), res(mid_res1_);
  for (const VqLevel& level : levels_) {
    for (const VqResBlock& block : level.res) res(block);
    for (const VqAttention& block : level.attn) attention(block);
    if (level.upsample) visit(*level.upsample);
  }
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

void VqDecoder::AllocateMaps() {
  if (!state_.empty()) return;
  for (Tensor* map : {&state_, &first_, &second_}) *map = Tensor(compute_, {LargestMap()});
  const Shape lowest{config_.grid, config_.grid, conv_in_->shape.out_channels};
  q_ = Tensor(compute_, lowest);
  k_ = Tensor(compute_, lowest);
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
  ForEachConv([&](const Conv2d& conv) {
    const ConvShape& s = conv.shape;
    macs += s.height * s.width * s.in_channels * s.out_channels * s.kernel * s.kernel;
  });
  return macs;
}

// ---- the forward pass
// --------------------------------------------------------------------------------------

void VqDecoder::Normalise(ThreadPool& pool, const VqNorm& norm, bool swish, TensorView in, Tensor& out) {
  out.Reshape(in.shape);
  ops_->group_norm(pool, in, norm.gamma.data(), norm.beta.data(), VqConfig::kNormGroups, VqConfig::kNormEps,
                   swish, out);
}

// state = state (or its shortcut) + conv2(swish(norm2(conv1(swish(norm1(state))))))
void VqDecoder::Residual(ThreadPool& pool, const VqResBlock& block) {
  const ConvShape& shape = block.conv1->shape;
  Normalise(pool, block.norm1, true, state_.view(), first_);
  second_.Reshape({shape.height, shape.width, shape.out_channels});
  ops_->conv2d(pool, *block.conv1, first_.view(), {}, second_);
  Normalise(pool, block.norm2, true, second_.view(), second_);
  if (block.shortcut) {
    first_.Reshape(second_.shape());
    ops_->conv2d(pool, *block.shortcut, state_.view(), {}, first_);
    std::swap(state_, first_);
  }
  ops_->conv2d(pool, *block.conv2, second_.view(), state_.view(), state_);
}

// state += out(attention(q, k, v of norm(state)))
void VqDecoder::Attend(ThreadPool& pool, const VqAttention& attention) {
  Normalise(pool, attention.norm, false, state_.view(), first_);
  second_.Reshape(state_.shape());
  ops_->conv2d(pool, *attention.q, first_.view(), {}, q_);
  ops_->conv2d(pool, *attention.k, first_.view(), {}, k_);
  ops_->conv2d(pool, *attention.v, first_.view(), {}, second_);
  ops_->full_attention(pool, q_.view(), k_.view(), second_.view(), 1, first_);
  ops_->conv2d(pool, *attention.out, first_.view(), state_.view(), state_);
}

void VqDecoder::Upsample(ThreadPool& pool, const Conv2d& conv) {
  const Shape doubled{conv.shape.height, conv.shape.width, conv.shape.in_channels};
  first_.Reshape(doubled);
  ops_->upsample2x(pool, state_.view(), first_);
  state_.Reshape(doubled);
  ops_->conv2d(pool, conv, first_.view(), {}, state_);
}

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
  AllocateMaps();
  LookUp(codes, first_);
  second_.Reshape({config_.grid, config_.grid, config_.latent_channels});
  ops_->conv2d(pool, *post_quant_conv_, first_.view(), {}, second_);
  state_.Reshape({config_.grid, config_.grid, conv_in_->shape.out_channels});
  ops_->conv2d(pool, *conv_in_, second_.view(), {}, state_);

  Residual(pool, mid_res0_);
  Attend(pool, mid_attn_);
  Residual(pool, mid_res1_);
  for (const VqLevel& level : levels_) {
    for (size_t b = 0; b < level.res.size(); b++) {
      Residual(pool, level.res[b]);
      if (!level.attn.empty()) Attend(pool, level.attn[b]);
    }
    if (level.upsample) Upsample(pool, *level.upsample);
  }

  Normalise(pool, norm_out_, true, state_.view(), first_);
  Tensor pixels(DType::kF32, {config_.image_size(), config_.image_size(), config_.out_channels});
  ops_->conv2d(pool, *conv_out_, first_.view(), {}, pixels);
  return pixels;
}

}  // namespace bifrons
