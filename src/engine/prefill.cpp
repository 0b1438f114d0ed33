#include "src/engine/prefill.h"

#include <algorithm>
#include <cstring>

namespace bifrons {

int64_t PrefillNext(Janus& janus, std::span<const int32_t> ids, std::span<const PromptImage> images,
                    int64_t from, KvCache& cache, float* last_hidden) {
  const int64_t hidden = janus.config().llama.hidden, n = static_cast<int64_t>(ids.size());
  const size_t row_bytes = static_cast<size_t>(hidden) * sizeof(float);
  BIFRONS_CHECK(from % kPrefillChunk == 0 && from < n);
  const int64_t rows = std::min(kPrefillChunk, n - from);
  Tensor x(DType::kF32, {rows, hidden});
  janus.llama().EmbedText(ids.subspan(static_cast<size_t>(from), static_cast<size_t>(rows)), x.as<float>());
  for (const PromptImage& image : images) {
    const int64_t first = std::max(from, image.start);
    const int64_t last = std::min(from + rows, image.start + image.features->shape()[0]);
    if (first >= last) continue;
    std::memcpy(x.as<float>() + (first - from) * hidden,
                image.features->as<float>() + (first - image.start) * hidden,
                static_cast<size_t>(last - first) * row_bytes);
  }
  const SequenceSpan span{&cache, from, rows, RowClass::kPrefill};
  janus.llama().Forward({&span, 1}, x.as<float>());
  std::memcpy(last_hidden, x.as<float>() + (rows - 1) * hidden, row_bytes);
  return from + rows;
}

void Prefill(Janus& janus, std::span<const int32_t> ids, std::span<const PromptImage> images, int64_t from,
             KvCache& cache, float* last_hidden) {
  do {
    from = PrefillNext(janus, ids, images, from, cache, last_hidden);
  } while (from < static_cast<int64_t>(ids.size()));
}

}  // namespace bifrons
