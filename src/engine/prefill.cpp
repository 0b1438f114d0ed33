#include "src/engine/prefill.h"

#include <algorithm>
#include <cstring>

namespace bifrons {

void Prefill(Janus& janus, std::span<const int32_t> ids, std::span<const PromptImage> images, int64_t from,
             KvCache& cache, float* last_hidden) {
  const int64_t hidden = janus.config().llama.hidden, n = static_cast<int64_t>(ids.size());
  const size_t row_bytes = static_cast<size_t>(hidden) * sizeof(float);
  BIFRONS_CHECK(from % kPrefillChunk == 0 && from < n);
  Tensor x(DType::kF32, {std::min(n - from, kPrefillChunk), hidden});
  for (int64_t start = from; start < n; start += kPrefillChunk) {
    const int64_t rows = std::min(kPrefillChunk, n - start);
    janus.llama().EmbedText(ids.subspan(static_cast<size_t>(start), static_cast<size_t>(rows)),
                            x.as<float>());
    for (const PromptImage& image : images) {
      const int64_t first = std::max(start, image.start);
      const int64_t last = std::min(start + rows, image.start + image.features->shape()[0]);
      if (first >= last) continue;
      std::memcpy(x.as<float>() + (first - start) * hidden,
                  image.features->as<float>() + (first - image.start) * hidden,
                  static_cast<size_t>(last - first) * row_bytes);
    }
    const SequenceSpan span{&cache, start, rows, RowClass::kPrefill};
    janus.llama().Forward({&span, 1}, x.as<float>());
    std::memcpy(last_hidden, x.as<float>() + (rows - 1) * hidden, row_bytes);
  }
}

}  // namespace bifrons
