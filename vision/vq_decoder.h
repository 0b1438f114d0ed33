// Codes to pixels. janus/models/vq_model.py: VectorQuantizer.get_codebook_entry, post_quant_conv, Decoder
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/device.h"
#include "src/base/result.h"
#include "vision/fetch.h"
#include "vision/vq_blocks.h"
#include "vision/vq_config.h"

namespace bifrons {

class VqDecoder {
 public:
  /// Packs all weights; the fetched views may go away afterwards. `device` must outlive the decoder.
  /// `compute` is the arithmetic and the type of the maps in between. Errors: a shape that the network cannot
  /// have, by field.
  static Result<VqDecoder> Create(Device& device, const VqConfig& config, DType compute, const Fetch& fetch);

  /// Whether codes that a user gave are a picture's. Errors: another number of them than grid², a code
  /// outside the codebook, by position.
  Status CheckCodes(std::span<const int32_t> codes) const;
  /// codes i32 [grid²], row by row, entries of the codebook, to pixels f32 [image_size, image_size,
  /// out_channels], nominally −1…1. Pictures must follow each other in one queue's order: the maps in between
  /// are kept for the next. Throws std::bad_alloc.
  void Decode(Queue& queue, View codes, View pixels);

  const VqConfig& config() const { return config_; }
  /// Bytes of the packed weights.
  size_t WeightBytes() const;
  /// Bytes of the maps that Decode keeps, and of the picture it makes.
  size_t ActivationBytes() const;
  /// Multiply-accumulates of the convolutions of one picture.
  int64_t ConvolutionMacs() const;

 private:
  VqDecoder() = default;
  int64_t LargestMap() const;
  template <class Visit>
  void ForEachConv(const Visit& visit) const;

  VqConfig config_;
  Device* device_ = nullptr;
  DType compute_ = DType::kF32;
  std::vector<float> entries_;  // [codebook_size, codebook_dim], rows of length 1; the codebook reads them
  std::unique_ptr<Table> codebook_;
  std::unique_ptr<Conv2d> post_quant_conv_, conv_in_, conv_out_;
  VqMid mid_;
  std::vector<VqLevel> levels_;  // lowest resolution first
  VqNorm norm_out_;
  VqMaps maps_;
};

}  // namespace bifrons
