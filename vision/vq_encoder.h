// Pixels to codes. janus/models/vq_model.py: Encoder, quant_conv, VectorQuantizer.forward
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/ops.h"
#include "src/base/result.h"
#include "src/base/tensor.h"
#include "src/base/thread_pool.h"
#include "vision/fetch.h"
#include "vision/vq_blocks.h"
#include "vision/vq_config.h"

namespace bifrons {

class VqEncoder {
 public:
  /// Packs all weights; the fetched views may go away afterwards. `ops` must outlive the encoder. `compute`
  /// is the arithmetic and the type of the maps in between. Errors: a shape that the network cannot have, by
  /// field.
  static Result<VqEncoder> Create(ThreadPool& pool, const Ops& ops, const VqConfig& config, DType compute,
                                  const Fetch& fetch);

  /// pixels f32 [image_size, image_size, 3], −1…1, as VqDecoder::Decode returns them, to codes [grid²], row
  /// by row. One call at a time: the maps in between are kept for the next picture. Errors: pixels of another
  /// shape.
  Result<std::vector<int32_t>> Encode(ThreadPool& pool, TensorView pixels);

  /// The two halves of Encode: z f32 [grid, grid, codebook_dim] before it is scaled to length 1, …
  Result<Tensor> Latents(ThreadPool& pool, TensorView pixels);
  /// … and the entries nearest to z, of equals the first. All in f32.
  std::vector<int32_t> Quantise(ThreadPool& pool, TensorView latents) const;

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
  const Ops* ops_ = nullptr;
  DType compute_ = DType::kF32;
  std::unique_ptr<Conv2d> conv_in_, conv_out_, quant_conv_;
  std::vector<VqLevel> levels_;  // full resolution first
  VqMid mid_;
  VqNorm norm_out_;
  std::vector<float> codebook_;  // [codebook_dim, codebook_size], columns of length 1
  std::vector<float> squares_;   // [codebook_size], those lengths squared: 1 but for rounding
  VqMaps maps_;
};

}  // namespace bifrons
