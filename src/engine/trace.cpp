#include "src/engine/trace.h"

#include <cstring>

#include "src/engine/draw.h"

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
  Prefill(janus, trace.prompt.conditional, caches[0], x.as<float>());
  Prefill(janus, trace.prompt.unconditional, caches[1], x.as<float>() + hidden);
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

}  // namespace bifrons
