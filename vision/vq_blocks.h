// What the VQ encoder and decoder are made of. janus/models/vq_model.py: ResnetBlock, AttnBlock
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "src/base/result.h"
#include "vision/fetch.h"
#include "vision/vq_config.h"

namespace bifrons {

/// Group normalisation's weights, widened to f32.
struct VqNorm {
  DeviceTensor gamma, beta;  // f32 [channels]
};

/// janus/models/vq_model.py: ResnetBlock
struct VqResBlock {
  VqNorm norm1, norm2;
  std::unique_ptr<Conv2d> conv1, conv2;
  std::unique_ptr<Conv2d> shortcut;  // 1×1, only where the widths differ
};

/// janus/models/vq_model.py: AttnBlock
struct VqAttention {
  VqNorm norm;
  std::unique_ptr<Conv2d> q, k, v, out;  // 1×1
};

/// Between the levels and the latents, at the lowest resolution.
struct VqMid {
  VqResBlock res0;
  VqAttention attn;
  VqResBlock res1;
};

/// One resolution.
struct VqLevel {
  std::vector<VqResBlock> res;
  std::vector<VqAttention> attn;   // one after every residual block of the lowest level; else none
  std::unique_ptr<Conv2d> resize;  // to the next level, where there is one: after doubling, or with stride 2
};

/// Whether the networks of this shape can be; `network` ("VQ decoder") begins the errors, which name the
/// field.
Status CheckVqConfig(const VqConfig& config, const std::string& network);

/// vq.codebook [codebook_size, codebook_dim], every entry scaled to length 1 as the reference
/// does. torch.nn.functional.normalize
std::vector<float> UnitCodebook(const VqConfig& config, const Fetch& fetch);

/// Packs the blocks of square maps, `side` pixels wide, under their names of the tensor table.
struct VqBuilder {
  Device& device;
  DType compute;  // the arithmetic, and the type of the maps
  const Fetch& fetch;

  VqNorm Norm(const std::string& name, int64_t channels) const;
  std::unique_ptr<Conv2d> Conv(const std::string& name, const ConvShape& shape) const;
  /// From a map to a map.
  std::unique_ptr<Conv2d> Conv(const std::string& name, int64_t in, int64_t out, int64_t side, int kernel,
                               int stride = 1) const;
  VqMid Mid(const std::string& name, int64_t channels, int64_t side) const;
  /// `blocks` residual blocks, each followed by attention when `lowest`; without the resizing convolution.
  VqLevel Level(const std::string& name, int64_t blocks, int64_t in, int64_t out, int64_t side,
                bool lowest) const;

 private:
  VqResBlock ResBlock(const std::string& name, int64_t in, int64_t out, int64_t side) const;
  VqAttention Attention(const std::string& name, int64_t channels, int64_t side) const;
};

/// The maps of one pass through a network, kept for the next, and the blocks' arithmetic on them.
class VqMaps {
 public:
  DeviceTensor state;          // the map between two blocks
  DeviceTensor first, second;  // inside a block

  /// Makes maps of up to `largest` values, and of `lowest` values for attention; nothing when they are there.
  void Allocate(Device& device, DType compute, int64_t largest, int64_t lowest);

  /// out = norm(in), reshaped to `in`; it may be in's memory.
  void Normalise(Queue&, const VqNorm&, bool swish, View in, DeviceTensor& out);
  /// out = conv(in), reshaped to the result.
  void Convolve(Queue&, const Conv2d&, View in, DeviceTensor& out);
  void Residual(Queue&, const VqResBlock&);
  void Attend(Queue&, const VqAttention&);
  void Mid(Queue&, const VqMid&);
  /// A level's blocks, without the resizing.
  void Level(Queue&, const VqLevel&);

 private:
  DeviceTensor q_, k_;  // inside an attention block, which only the lowest resolution has
};

template <class Visit>
void ForEachConv(const VqResBlock& block, const Visit& visit) {
  visit(*block.conv1), visit(*block.conv2);
  if (block.shortcut) visit(*block.shortcut);
}
template <class Visit>
void ForEachConv(const VqAttention& a, const Visit& visit) {
  visit(*a.q), visit(*a.k), visit(*a.v), visit(*a.out);
}
template <class Visit>
void ForEachConv(const VqMid& mid, const Visit& visit) {
  ForEachConv(mid.res0, visit), ForEachConv(mid.attn, visit), ForEachConv(mid.res1, visit);
}
template <class Visit>
void ForEachConv(const std::vector<VqLevel>& levels, const Visit& visit) {
  for (const VqLevel& level : levels) {
    for (const VqResBlock& block : level.res) ForEachConv(block, visit);
    for (const VqAttention& block : level.attn) ForEachConv(block, visit);
    if (level.resize) visit(*level.resize);
  }
}

}  // namespace bifrons
