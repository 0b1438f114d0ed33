// The SigLIP vision tower: a picture to one row per patch. janus/models/siglip_vit.py: VisionTransformer
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/device.h"
#include "kernels/layer_observer.h"
#include "src/base/result.h"
#include "vision/fetch.h"
#include "vision/siglip_config.h"

namespace bifrons {

class SiglipEncoder {
 public:
  /// Packs all weights; the fetched views may go away afterwards. `device` must outlive the encoder. With
  /// compute bf16 the activations are rounded to bf16 where they enter a product; the residual stream is f32.
  /// Errors: a shape that the network cannot have, by field.
  static Result<SiglipEncoder> Create(Device& device, const SiglipConfig& config, DType compute,
                                      const Fetch& fetch);

  /// pixel_values f32 [3, image_size, image_size] to f32 [patches, hidden], patches row by row, after the
  /// final norm. Pictures must follow each other in one queue's order: the activations are kept for the next.
  /// Throws std::bad_alloc.
  DeviceTensor Encode(Queue& queue, View pixel_values);

  /// From now on `observer` sees every pass; an empty one ends it.
  void ObserveLayers(LayerObserver observer) { observer_ = std::move(observer); }

  const SiglipConfig& config() const { return config_; }
  /// Bytes of the packed weights.
  size_t WeightBytes() const;
  /// Bytes of the activations that Encode keeps, and of the rows it returns.
  size_t ActivationBytes() const;
  /// Multiply-accumulates of one picture, attention included.
  int64_t Macs() const;

 private:
  struct Norm {
    DeviceTensor weight, bias;  // f32 [hidden]
  };
  struct Layer {
    Norm norm1, norm2;
    std::unique_ptr<Linear> qkv, out, fc1, fc2;
  };

  SiglipEncoder() = default;
  void Normalise(Queue& queue, const Norm& norm, View x, View y) const;
  void Attend(Queue& queue, const Layer& layer, View x);
  void FeedForward(Queue& queue, const Layer& layer, View x);

  SiglipConfig config_;
  Device* device_ = nullptr;
  DType compute_ = DType::kF32;
  std::unique_ptr<Linear> patch_embed_;  // [hidden, 3·patch²]
  DeviceTensor position_;                // f32 [patches, hidden]
  std::vector<Layer> layers_;
  Norm norm_;

  LayerObserver observer_;

  DeviceTensor normed_;  // f32 [patches, hidden]
  DeviceTensor wide_;    // f32 [patches, the widest of a patch's pixels, q k v, and the feed-forward layer]
};

}  // namespace bifrons
