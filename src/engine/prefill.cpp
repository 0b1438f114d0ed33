#include "src/engine/prefill.h"

#include <algorithm>

namespace bifrons {

DeviceTensor Uploaded(Janus& janus, Queue& queue, std::span<const int32_t> ids) {
  const Shape shape{static_cast<int64_t>(ids.size())};
  DeviceTensor tensor = janus.device().NewTensor(DType::kI32, shape);
  queue.Upload({ids.data(), DType::kI32, shape}, tensor.view());
  return tensor;
}

int64_t PrefillNext(Janus& janus, std::span<const int32_t> ids, std::span<const PromptImage> images,
                    int64_t from, KvCache& cache, View last_hidden) {
  const int64_t n = static_cast<int64_t>(ids.size());
  BIFRONS_CHECK(from % kPrefillChunk == 0 && from < n);
  const int64_t rows = std::min(kPrefillChunk, n - from);
  Queue& queue = janus.steps();
  const DeviceTensor chunk = janus.device().NewTensor(DType::kF32, {rows, janus.config().llama.hidden});
  const View x = chunk.view();
  const auto some = ids.subspan(static_cast<size_t>(from), static_cast<size_t>(rows));
  janus.llama().EmbedText(queue, Uploaded(janus, queue, some).view(), x);
  for (const PromptImage& image : images) {
    const View features = image.features->rows.view();
    const int64_t first = std::max(from, image.start);
    const int64_t last = std::min(from + rows, image.start + features.rows());
    if (first >= last) continue;
    queue.After(image.features->ready);
    queue.Copy(features.Rows(first - image.start, last - first), x.Rows(first - from, last - first));
  }
  const SequenceSpan span{&cache, from, rows, RowClass::kPrefill};
  janus.llama().Forward(queue, {&span, 1}, x);
  queue.Copy(x.Rows(rows - 1, 1), last_hidden);
  return from + rows;
}

void Prefill(Janus& janus, std::span<const int32_t> ids, std::span<const PromptImage> images, int64_t from,
             KvCache& cache, View last_hidden) {
  do {
    from = PrefillNext(janus, ids, images, from, cache, last_hidden);
  } while (from < static_cast<int64_t>(ids.size()));
}

}  // namespace bifrons
