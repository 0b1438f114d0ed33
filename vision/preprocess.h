// A picture → what the vision tower sees.
#pragma once

#include <array>
#include <cstdint>

#include "src/base/tensor.h"
#include "vision/image.h"

namespace bifrons {

/// preprocessor_config.json's numbers (janus/models/image_processing_vlm.py: VLMImageProcessorConfig).
struct ImageProcessorConfig {
  /// Side of the square that comes out, in pixels (384).
  int64_t image_size = 0;
  /// A resized side is at least this many pixels, whatever the picture's proportions; at most image_size.
  int64_t min_size = 14;
  /// From bytes to 0…1.
  double rescale_factor = 1.0 / 255.0;
  /// Per channel, subtracted after rescaling.
  std::array<float, 3> mean{0.5f, 0.5f, 0.5f};
  /// Per channel, divided by after that; not 0.
  std::array<float, 3> std{0.5f, 0.5f, 0.5f};
  /// What the square is filled up with beside the picture, RGB: int(mean · 255).
  std::array<uint8_t, 3> background{127, 127, 127};
  /// Whether mean and std are applied at all.
  bool do_normalize = true;
};

/// The longer side becomes image_size, the other follows (truncated, at least min_size); bicubic; centred on
/// a square of the background. [image_size, image_size].
Image ResizeAndPad(const Image& image, const ImageProcessorConfig& config);

/// ResizeAndPad, rescaled and normalised as the reference does it in f32: [3, image_size, image_size].
Tensor Preprocess(const Image& image, const ImageProcessorConfig& config);

}  // namespace bifrons
