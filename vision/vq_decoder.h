// Codes to pixels. janus/models/vq_model.py: VectorQuantizer.get_codebook_entry, post_quant_conv, Decoder
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "src/base/result.h"
#include "src/base/tensor.h"
#include "src/base/thread_pool.h"
#include "vision/vq_config.h"

namespace bifrons {

/// Group normalisation's weights, widened to f32.
struct VqNorm {
  std::vector<float> gamma, beta;  // [channels]
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

/// One resolution of the decoder.
struct VqLevel {
  std::vector<VqResBlock> res;
  std::vector<VqAttention> attn;     // one after every residual block of the lowest level; else none
  std::unique_ptr<Conv2d> upsample;  // after doubling; none at the last level
};

class VqDecoder {
 public:
  /// Gives a tensor by our name ("vq.decoder.levels.0.res.1.conv1.weight") with the shape that the tensor
  /// table promises for it; f32, bf16 or f16.
  using Fetch = std::function<TensorView(const std::string& name)>;

  /// Packs all weights; the fetched views may go away afterwards. `ops` must outlive the decoder. `compute`
  /// is the arithmetic and the type of the maps in between. Errors: a shape that the network cannot have, by
  /// field.
  static Result<VqDecoder> Create(ThreadPool& pool, const Ops& ops, const VqConfig& config, DType compute,
                                  const Fetch& fetch);

  /// codes [grid²], row by row, to pixels f32 [image_size, image_size, out_channels], nominally −1…1. One
  /// call at a time: the maps in between are kept for the next picture. Errors: a code outside the codebook,
  /// by position.
  Result<Tensor> Decode(ThreadPool& pool, std::span<const int32_t> codes);

  const VqConfig& config() const { return config_; }
  /// Bytes of the packed weights.
  size_t WeightBytes() const;
  /// Bytes of the maps that Decode keeps, and of the picture it returns.
  size_t ActivationBytes() const;
  /// Multiply-accumulates of the convolutions of one picture.
  int64_t ConvolutionMacs() const;

 private:
  VqDecoder() = default;
  void Normalise(ThreadPool& pool, const VqNorm& norm, bool swish, TensorView in, Tensor& out);
  void Residual(ThreadPool& pool, const VqResBlock& block);
  void Attend(ThreadPool& pool, const VqAttention& attention);
  void Upsample(ThreadPool& pool, const Conv2d& conv);
  void LookUp(std::span<const int32_t> codes, Tensor& out) const;
  void AllocateMaps();
  int64_t LargestMap() const;
  template <class Visit>
  void ForEachConv(const Visit& visit) const;

  VqConfig config_;
  const Ops* ops_ = nullptr;
  DType compute_ = DType::kF32;
  std::vector<float> codebook_;  // [codebook_size, codebook_dim], rows of length 1
  std::unique_ptr<Conv2d> post_quant_conv_, conv_in_, conv_out_;
  VqResBlock mid_res0_, mid_res1_;
  VqAttention mid_attn_;
  std::vector<VqLevel> levels_;  // lowest resolution first
  VqNorm norm_out_;

  Tensor state_;           // the map between two blocks
  Tensor first_, second_;  // inside a block
  Tensor q_, k_;           // inside an attention block, which only the lowest resolution has
};

}  // namespace bifrons
