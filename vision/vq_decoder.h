// Codes to pixels. janus/models/vq_model.py: VectorQuantizer.get_codebook_entry, post_quant_conv, Decoder
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/ops.h"
#include "src/base/result.h"
#include "src/base/tensor.h"
#include "src/base/thread_pool.h"
#include "vision/fetch.h"
#include "vision/vq_blocks.h"
#include "vision/vq_config.h"

namespace bifrons {

class VqDecoder {
 public:
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
  void LookUp(std::span<const int32_t> codes, Tensor& out) const;
  int64_t LargestMap() const;
  template <class Visit>
  void ForEachConv(const Visit& visit) const;

  VqConfig config_;
  const Ops* ops_ = nullptr;
  DType compute_ = DType::kF32;
  std::vector<float> codebook_;  // [codebook_size, codebook_dim], rows of length 1
  std::unique_ptr<Conv2d> post_quant_conv_, conv_in_, conv_out_;
  VqMid mid_;
  std::vector<VqLevel> levels_;  // lowest resolution first
  VqNorm norm_out_;
  VqMaps maps_;
};

}  // namespace bifrons
