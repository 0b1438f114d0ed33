// The SigLIP vision tower: a picture to one row per patch. janus/models/siglip_vit.py: VisionTransformer
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/ops.h"
#include "src/base/result.h"
#include "src/base/tensor.h"
#include "src/base/thread_pool.h"
#include "vision/fetch.h"
#include "vision/siglip_config.h"

namespace bifrons {

class SiglipEncoder {
 public:
  /// Packs all weights; the fetched views may go away afterwards. `ops` must outlive the encoder. With
  /// compute bf16 the activations are rounded to bf16 where they enter a product; the residual stream is f32.
  /// Errors: a shape that the network cannot have, by field.
  static Result<SiglipEncoder> Create(ThreadPool& pool, const Ops& ops, const SiglipConfig& config,
                                      DType compute, const Fetch& fetch);

  /// pixel_values f32 [3, image_size, image_size] to f32 [patches, hidden], patches row by row, after the
  /// final norm. One call at a time: the activations are kept for the next picture.
  Tensor Encode(ThreadPool& pool, TensorView pixel_values);

  const SiglipConfig& config() const { return config_; }
  /// Bytes of the packed weights.
  size_t WeightBytes() const;
  /// Bytes of the activations that Encode keeps, and of the rows it returns.
  size_t ActivationBytes() const;
  /// Multiply-accumulates of one picture, attention included.
  int64_t Macs() const;

 private:
  struct Norm {
    std::vector<float> weight, bias;  // [hidden]
  };
  struct Layer {
    Norm norm1, norm2;
    std::unique_ptr<Linear> qkv, out, fc1, fc2;
  };

  SiglipEncoder() = default;
  void Unfold(ThreadPool& pool, TensorView pixel_values);
  void Normalise(ThreadPool& pool, const Norm& norm, const float* x, float* y);
  void Attend(ThreadPool& pool, const Layer& layer, float* x);
  void FeedForward(ThreadPool& pool, const Layer& layer, float* x);

  SiglipConfig config_;
  const Ops* ops_ = nullptr;
  DType compute_ = DType::kF32;
  std::unique_ptr<Linear> patch_embed_;  // [hidden, 3·patch²]
  std::vector<float> position_;          // [patches, hidden]
  std::vector<Layer> layers_;
  Norm norm_;

  Tensor normed_;  // [patches, hidden]
  Tensor wide_;    // [patches, the widest of the pixels of a patch, q k v, and the feed-forward layer]
};

}  // namespace bifrons
