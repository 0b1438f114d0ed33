// Shape of the SigLIP vision tower. janus/models/siglip_vit.py: VisionTransformer
#pragma once

#include <cstdint>

namespace bifrons {

struct SiglipConfig {
  int64_t hidden = 0;      // width (1024)
  int64_t layers = 0;      // (24)
  int64_t heads = 0;       // (16)
  int64_t mlp = 0;         // width of the feed-forward layer (4096)
  int64_t patch = 0;       // pixels per patch side (16)
  int64_t image_size = 0;  // pixels per side (384)
  float norm_eps = 1e-6f;

  int64_t patches() const { return (image_size / patch) * (image_size / patch); }
};

}  // namespace bifrons
