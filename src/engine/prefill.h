// Filling a cache with a prompt: text embeddings, and image features in the placeholders' rows.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "src/model/janus.h"

namespace bifrons {

/// What the transformer sees of an image.
using ImageFeatures = std::shared_ptr<const EmbeddedImage>;
/// The vision tower's and aligner's view of an image; given to images(), and not waited for.
inline ImageFeatures LookAt(Janus& janus, const Image& image) {
  return std::make_shared<const EmbeddedImage>(janus.EmbedImage(image));
}

/// An image in a prompt: its features stand for the ids from `start` on.
struct PromptImage {
  int64_t start = 0;
  ImageFeatures features;
};

/// `ids` as i32 [n], brought by `queue`.
DeviceTensor Uploaded(Janus& janus, Queue& queue, std::span<const int32_t> ids);

/// Gives the chunk of `ids` that begins at `from` (a multiple of kPrefillChunk, before which the cache is
/// filled) to steps(), into `cache`; last_hidden f32 [1, hidden] is that of the chunk's last position.
/// Returns the position after it.
int64_t PrefillNext(Janus& janus, std::span<const int32_t> ids, std::span<const PromptImage> images,
                    int64_t from, KvCache& cache, View last_hidden);

/// All chunks from `from` on.
void Prefill(Janus& janus, std::span<const int32_t> ids, std::span<const PromptImage> images, int64_t from,
             KvCache& cache, View last_hidden);

}  // namespace bifrons
