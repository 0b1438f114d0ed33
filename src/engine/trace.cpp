#include "src/engine/trace.h"

#include <algorithm>
#include <cstring>

#include "src/engine/answer.h"
#include "src/engine/draw.h"
#include "src/engine/image_codes.h"
#include "src/engine/prefill.h"

namespace bifrons {

Result<Trace> TraceCodes(Janus& janus, const std::string& prompt, std::span<const int32_t> codes) {
  const JanusConfig& config = janus.config();
  const int64_t hidden = config.llama.hidden, codebook = config.vq.codebook_size, tokens = config.vq.tokens();
  const auto count = static_cast<int64_t>(codes.size());
  if (count < 1 || count > tokens) {
    return DataError("codes: " + std::to_string(count) + " of them; this model draws " +
                     std::to_string(tokens));
  }
  for (size_t i = 0; i < codes.size(); i++) {
    if (codes[i] < 0 || codes[i] >= codebook) {
      return DataError("codes[" + std::to_string(i) + "] is " + std::to_string(codes[i]) +
                       "; the codebook has entries 0 to " + std::to_string(codebook - 1));
    }
  }
  BIFRONS_RETURN_IF_ERROR(CheckPrompt(janus, prompt));

  Trace trace;
  trace.prompt = janus.EncodePrompt(prompt);
  trace.logits_conditional = Tensor(DType::kF32, {count, codebook});
  trace.logits_unconditional = Tensor(DType::kF32, {count, codebook});
  const auto length = static_cast<int64_t>(trace.prompt.conditional.size());
  KvCache caches[2] = {{config.llama, janus.kv_type(), length + count},
                       {config.llama, janus.kv_type(), length + count}};
  Tensor x(DType::kF32, {2, hidden});
  Tensor logits(DType::kF32, {2, codebook});
  Prefill(janus, trace.prompt.conditional, {}, 0, caches[0], x.as<float>());
  Prefill(janus, trace.prompt.unconditional, {}, 0, caches[1], x.as<float>() + hidden);
  const size_t row_bytes = static_cast<size_t>(codebook) * sizeof(float);
  for (int64_t i = 0; i < count; i++) {
    janus.ImageLogits(x.as<float>(), 2, logits.as<float>());
    std::memcpy(trace.logits_conditional.as<float>() + i * codebook, logits.as<float>(), row_bytes);
    std::memcpy(trace.logits_unconditional.as<float>() + i * codebook, logits.as<float>() + codebook,
                row_bytes);
    if (i + 1 == count) break;
    janus.EmbedImageTokens(codes.subspan(static_cast<size_t>(i), 1), x.as<float>());
    std::memcpy(x.as<float>() + hidden, x.as<float>(), static_cast<size_t>(hidden) * sizeof(float));
    const SequenceSpan spans[2] = {{&caches[0], length + i, 1, RowClass::kDecode},
                                   {&caches[1], length + i, 1, RowClass::kDecode}};
    janus.llama().Forward(spans, x.as<float>());
  }
  if (count == tokens) {
    BIFRONS_TRY(trace.pixels, janus.vq().Decode(janus.pool(), codes));
  }
  return trace;
}

namespace {

// Stacks tensors of one shape; a single one stays as it is.
Tensor Stacked(std::span<const Tensor* const> parts) {
  if (parts.empty()) return {};
  Shape shape;
  if (parts.size() > 1) shape.Append(static_cast<int64_t>(parts.size()));
  for (int i = 0; i < parts[0]->shape().rank(); i++) shape.Append(parts[0]->shape()[i]);
  Tensor all(parts[0]->dtype(), shape);
  for (size_t i = 0; i < parts.size(); i++) {
    std::memcpy(static_cast<char*>(all.data()) + i * parts[i]->bytes(), parts[i]->data(), parts[i]->bytes());
  }
  return all;
}

Tensor Stacked(const std::vector<Tensor>& parts) {
  std::vector<const Tensor*> pointers;
  for (const Tensor& part : parts) pointers.push_back(&part);
  return Stacked(pointers);
}

}  // namespace

Result<AnswerTrace> TraceAnswer(Janus& janus, std::span<const Image> images, const std::string& question) {
  AnswerRequest request;
  request.turns = {{static_cast<int64_t>(images.size()), question, ""}};
  std::vector<Tensor> pixels, features, codes;
  for (const Image& image : images) {
    pixels.push_back(Preprocess(image, janus.image_processor()));
    features.push_back(janus.siglip().Encode(janus.pool(), pixels.back().view()));
    request.images.push_back(std::make_shared<const Tensor>(janus.AlignFeatures(features.back())));
    if (!janus.parts().vq_encoder) continue;
    BIFRONS_TRY(const auto image_codes, EncodeImage(janus, FitForCodes(janus, image)));
    codes.emplace_back(DType::kI32, Shape{static_cast<int64_t>(image_codes.size())});
    std::copy(image_codes.begin(), image_codes.end(), codes.back().as<int32_t>());
  }
  AnswerTrace trace;
  BIFRONS_TRY(trace.logits, FirstTokenLogits(janus, request));
  trace.ids = janus.EncodeTurns(request.turns).ids;
  std::vector<const Tensor*> aligned;  // what the answer was computed from
  for (const ImageFeatures& image : request.images) aligned.push_back(image.get());
  trace.pixel_values = Stacked(pixels), trace.vision = Stacked(features), trace.aligned = Stacked(aligned);
  trace.vq_codes = Stacked(codes);
  return trace;
}

}  // namespace bifrons
