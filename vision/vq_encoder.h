// Pixels to codes. janus/models/vq_model.py: Encoder, quant_conv, VectorQuantizer.forward
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/device.h"
#include "src/base/result.h"
#include "vision/fetch.h"
#include "vision/vq_blocks.h"
#include "vision/vq_config.h"

namespace bifrons {

class VqEncoder {
 public:
  /// Packs all weights; the fetched views may go away afterwards. `device` must outlive the encoder.
  /// `compute` is the arithmetic and the type of the maps in between. Errors: a shape that the network cannot
  /// have, by field.
  static Result<VqEncoder> Create(Device& device, const VqConfig& config, DType compute, const Fetch& fetch);

  /// pixels f32 [image_size, image_size, 3], −1…1, as VqDecoder::Decode makes them, to codes i32 [grid²], row
  /// by row. Pictures must follow each other in one queue's order: the maps in between are kept for the next.
  /// Throws std::bad_alloc.
  void Encode(Queue& queue, View pixels, View codes);

  /// The two halves of Encode: z f32 [grid, grid, codebook_dim] before it is scaled to length 1, …
  DeviceTensor Latents(Queue& queue, View pixels);
  /// … and the entries nearest to rows z f32 [n, codebook_dim], of equals the first, as codes i32 [n]. All in
  /// f32.
  void Quantise(Queue& queue, View z, View codes) const;

  const VqConfig& config() const { return config_; }
  /// Bytes of the packed weights.
  size_t WeightBytes() const;
  /// Bytes of the maps that Encode keeps.
  size_t ActivationBytes() const;
  /// Multiply-accumulates of the convolutions of one picture.
  int64_t ConvolutionMacs() const;

 private:
  VqEncoder() = default;
  int64_t LargestMap() const;
  int64_t LowestMap() const;
  template <class Visit>
  void ForEachConv(const Visit& visit) const;

  VqConfig config_;
  Device* device_ = nullptr;
  DType compute_ = DType::kF32;
  std::unique_ptr<Conv2d> conv_in_, conv_out_, quant_conv_;
  std::vector<VqLevel> levels_;  // full resolution first
  VqMid mid_;
  VqNorm norm_out_;
  DeviceTensor codebook_;  // f32 [codebook_dim, codebook_size], columns of length 1
  DeviceTensor squares_;   // f32 [codebook_size], those lengths squared: 1 but for rounding
  VqMaps maps_;
};

}  // namespace bifrons
