#include "vision/vq_blocks.h"

#include <algorithm>
#include <cmath>

namespace bifrons {

Status CheckVqConfig(const VqConfig& c, const std::string& network) {
  const auto wrong = [&](const std::string& what) { return DataError(network + ": " + what); };
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

void ScaleToUnit(float* x, int64_t n) {
  float squares = 0;
  for (int64_t i = 0; i < n; i++) squares += x[i] * x[i];
  const float norm = std::max(std::sqrt(squares), 1e-12f);
  for (int64_t i = 0; i < n; i++) x[i] /= norm;
}

std::vector<float> UnitCodebook(const VqConfig& config, const Fetch& fetch) {
  std::vector<float> codebook = fetch.Floats("vq.codebook");
  BIFRONS_CHECK(static_cast<int64_t>(codebook.size()) == config.codebook_size * config.codebook_dim);
  for (int64_t i = 0; i < config.codebook_size; i++) {
    ScaleToUnit(codebook.data() + i * config.codebook_dim, config.codebook_dim);
  }
  return codebook;
}

// ---- building --------------------------------------------------------------------------------

VqNorm VqBuilder::Norm(const std::string& name, int64_t channels) const {
  VqNorm norm{fetch.Floats(name + ".weight"), fetch.Floats(name + ".bias")};
  BIFRONS_CHECK(static_cast<int64_t>(norm.gamma.size()) == channels && norm.beta.size() == norm.gamma.size());
  return norm;
}

std::unique_ptr<Conv2d> VqBuilder::Conv(const std::string& name, int64_t in, int64_t out, int64_t side,
                                        int kernel, int stride) const {
  const ConvShape shape{in, out, side, side, kernel, stride};
  auto conv = ops.pack_conv(pool, shape, fetch(name + ".weight"), fetch(name + ".bias"), compute);
  fetch.Done(name + ".weight"), fetch.Done(name + ".bias");
  return conv;
}

VqResBlock VqBuilder::ResBlock(const std::string& name, int64_t in, int64_t out, int64_t side) const {
  VqResBlock block;
  block.norm1 = Norm(name + ".norm1", in);
  block.conv1 = Conv(name + ".conv1", in, out, side, 3);
  block.norm2 = Norm(name + ".norm2", out);
  block.conv2 = Conv(name + ".conv2", out, out, side, 3);
  if (in != out) block.shortcut = Conv(name + ".shortcut", in, out, side, 1);
  return block;
}

VqAttention VqBuilder::Attention(const std::string& name, int64_t channels, int64_t side) const {
  return {Norm(name + ".norm", channels), Conv(name + ".q", channels, channels, side, 1),
          Conv(name + ".k", channels, channels, side, 1), Conv(name + ".v", channels, channels, side, 1),
          Conv(name + ".out", channels, channels, side, 1)};
}

VqMid VqBuilder::Mid(const std::string& name, int64_t channels, int64_t side) const {
  return {ResBlock(name + ".res0", channels, channels, side), Attention(name + ".attn", channels, side),
          ResBlock(name + ".res1", channels, channels, side)};
}

VqLevel VqBuilder::Level(const std::string& name, int64_t blocks, int64_t in, int64_t out, int64_t side,
                         bool lowest) const {
  VqLevel level;
  for (int64_t b = 0; b < blocks; b++) {
    const std::string index = std::to_string(b);
    level.res.push_back(ResBlock(name + ".res." + index, b == 0 ? in : out, out, side));
    if (lowest) level.attn.push_back(Attention(name + ".attn." + index, out, side));
  }
  return level;
}

// ---- the blocks' arithmetic --------------------------------------------------------------------

void VqMaps::Allocate(DType compute, int64_t largest, int64_t lowest) {
  if (!k_.empty()) return;  // the last one made
  for (Tensor* map : {&state, &first, &second}) *map = Tensor(compute, {largest});
  q_ = Tensor(compute, {lowest});
  k_ = Tensor(compute, {lowest});
}

void VqMaps::Normalise(ThreadPool& pool, const Ops& ops, const VqNorm& norm, bool swish, TensorView in,
                       Tensor& out) {
  out.Reshape(in.shape);
  ops.group_norm(pool, in, norm.gamma.data(), norm.beta.data(), VqConfig::kNormGroups, VqConfig::kNormEps,
                 swish, out);
}

void VqMaps::Convolve(ThreadPool& pool, const Ops& ops, const Conv2d& conv, TensorView in, Tensor& out) {
  out.Reshape({conv.shape.out_height(), conv.shape.out_width(), conv.shape.out_channels});
  ops.conv2d(pool, conv, in, {}, out);
}

// state = state (or its shortcut) + conv2(swish(norm2(conv1(swish(norm1(state))))))
void VqMaps::Residual(ThreadPool& pool, const Ops& ops, const VqResBlock& block) {
  Normalise(pool, ops, block.norm1, true, state.view(), first);
  Convolve(pool, ops, *block.conv1, first.view(), second);
  Normalise(pool, ops, block.norm2, true, second.view(), second);
  if (block.shortcut) {
    Convolve(pool, ops, *block.shortcut, state.view(), first);
    std::swap(state, first);
  }
  ops.conv2d(pool, *block.conv2, second.view(), state.view(), state);
}

// state += out(attention(q, k, v of norm(state)))
void VqMaps::Attend(ThreadPool& pool, const Ops& ops, const VqAttention& attention) {
  const Shape shape = state.shape();
  Normalise(pool, ops, attention.norm, false, state.view(), first);
  Convolve(pool, ops, *attention.q, first.view(), q_);
  Convolve(pool, ops, *attention.k, first.view(), k_);
  Convolve(pool, ops, *attention.v, first.view(), second);
  // In f32 on maps of either type.
  ops.full_attention(pool,
                     {.q = q_.data(),
                      .k = k_.data(),
                      .v = second.data(),
                      .type = state.dtype(),
                      .stride = shape[2],
                      .n = shape[0] * shape[1],
                      .heads = 1,
                      .head_dim = shape[2],
                      .compute = DType::kF32},
                     first.data());
  ops.conv2d(pool, *attention.out, first.view(), state.view(), state);
}

void VqMaps::Mid(ThreadPool& pool, const Ops& ops, const VqMid& mid) {
  Residual(pool, ops, mid.res0);
  Attend(pool, ops, mid.attn);
  Residual(pool, ops, mid.res1);
}

void VqMaps::Level(ThreadPool& pool, const Ops& ops, const VqLevel& level) {
  for (size_t b = 0; b < level.res.size(); b++) {
    Residual(pool, ops, level.res[b]);
    if (!level.attn.empty()) Attend(pool, ops, level.attn[b]);
  }
}

}  // namespace bifrons
