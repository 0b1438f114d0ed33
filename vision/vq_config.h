// Shape of the VQ tokenizer's networks. janus/models/vq_model.py: ModelArgs, Encoder, Decoder
#pragma once

#include <cstdint>
#include <vector>

namespace bifrons {

struct VqConfig {
  int64_t codebook_size = 0;                // entries
  int64_t codebook_dim = 0;                 // values of an entry (8)
  int64_t latent_channels = 0;              // z (256)
  int64_t base_channels = 0;                // channels at full resolution before multipliers (128)
  std::vector<int64_t> channel_multiplier;  // per level, full resolution first (1 1 2 2 4)
  int64_t res_blocks = 0;                   // residual blocks per encoder level; the decoder has one more (2)
  int64_t out_channels = 3;
  int64_t grid = 0;  // tokens per side (24)

  static constexpr int kNormGroups = 32;
  static constexpr float kNormEps = 1e-6f;

  int64_t tokens() const { return grid * grid; }
  /// Pixels per side: every level but the last doubles.
  int64_t image_size() const { return grid << (channel_multiplier.size() - 1); }
};

}  // namespace bifrons
