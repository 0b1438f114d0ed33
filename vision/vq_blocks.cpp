#include "vision/vq_blocks.h"

#include <algorithm>
#include <cmath>
#include <span>

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

std::vector<float> UnitCodebook(const VqConfig& config, const Fetch& fetch) {
  std::vector<float> codebook = fetch.Floats("vq.codebook");
  BIFRONS_CHECK(static_cast<int64_t>(codebook.size()) == config.codebook_size * config.codebook_dim);
  for (int64_t i = 0; i < config.codebook_size; i++) {
    const std::span entry(codebook.data() + i * config.codebook_dim,
                          static_cast<size_t>(config.codebook_dim));
    float squares = 0;
    for (const float x : entry) squares += x * x;
    const float norm = std::max(std::sqrt(squares), 1e-12f);
    for (float& x : entry) x /= norm;
  }
  return codebook;
}

// ---- building --------------------------------------------------------------------------------

VqNorm VqBuilder::Norm(const std::string& name, int64_t channels) const {
  VqNorm norm{device.PackVector(fetch.Floats(name + ".weight")),
              device.PackVector(fetch.Floats(name + ".bias"))};
  BIFRONS_CHECK(norm.gamma.shape() == Shape{channels} && norm.beta.shape() == Shape{channels});
  return norm;
}

std::unique_ptr<Conv2d> VqBuilder::Conv(const std::string& name, const ConvShape& shape) const {
  auto conv = device.PackConv(shape, fetch(name + ".weight"), fetch(name + ".bias"));
  fetch.Done(name + ".weight"), fetch.Done(name + ".bias");
  return conv;
}

std::unique_ptr<Conv2d> VqBuilder::Conv(const std::string& name, int64_t in, int64_t out, int64_t side,
                                        int kernel, int stride) const {
  return Conv(name, {in, out, side, side, kernel, stride, compute, compute});
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

void VqMaps::Allocate(Device& device, DType compute, int64_t largest, int64_t lowest) {
  if (!k_.empty()) return;
  for (DeviceTensor* map : {&state, &first, &second}) *map = device.NewTensor(compute, {largest});
  q_ = device.NewTensor(compute, {lowest});
  k_ = device.NewTensor(compute, {lowest});
}

void VqMaps::Normalise(Queue& queue, const VqNorm& norm, bool swish, View in, DeviceTensor& out) {
  out.Reshape(in.shape);
  queue.GroupNorm(in, norm.gamma.view(), norm.beta.view(), VqConfig::kNormGroups, VqConfig::kNormEps, swish,
                  out.view());
}

void VqMaps::Convolve(Queue& queue, const Conv2d& conv, View in, DeviceTensor& out) {
  out.Reshape(conv.shape.out());
  queue.Convolve(conv, in, {}, out.view());
}

// state = state (or its shortcut) + conv2(swish(norm2(conv1(swish(norm1(state))))))
void VqMaps::Residual(Queue& queue, const VqResBlock& block) {
  Normalise(queue, block.norm1, true, state.view(), first);
  Convolve(queue, *block.conv1, first.view(), second);
  Normalise(queue, block.norm2, true, second.view(), second);
  if (block.shortcut) {
    Convolve(queue, *block.shortcut, state.view(), first);
    std::swap(state, first);
  }
  queue.Convolve(*block.conv2, second.view(), state.view(), state.view());
}

// state += out(attention(q, k, v of norm(state)))
void VqMaps::Attend(Queue& queue, const VqAttention& attention) {
  Normalise(queue, attention.norm, false, state.view(), first);
  Convolve(queue, *attention.q, first.view(), q_);
  Convolve(queue, *attention.k, first.view(), k_);
  Convolve(queue, *attention.v, first.view(), second);
  const Shape& shape = state.shape();
  const Shape rows{shape[0] * shape[1], shape[2]};
  // In f32 on maps of either type.
  queue.AttendAll({.heads = 1, .head_dim = shape[2], .compute = DType::kF32}, q_.view().As(rows),
                  k_.view().As(rows), second.view().As(rows), first.view().As(rows));
  queue.Convolve(*attention.out, first.view(), state.view(), state.view());
}

void VqMaps::Mid(Queue& queue, const VqMid& mid) {
  Residual(queue, mid.res0);
  Attend(queue, mid.attn);
  Residual(queue, mid.res1);
}

void VqMaps::Level(Queue& queue, const VqLevel& level) {
  for (size_t b = 0; b < level.res.size(); b++) {
    Residual(queue, level.res[b]);
    if (!level.attn.empty()) Attend(queue, level.attn[b]);
  }
}

}  // namespace bifrons
