#include "src/engine/trace.h"

#include <algorithm>
#include <cstring>

#include "src/engine/answer.h"
#include "src/engine/draw.h"
#include "src/engine/image_codes.h"
#include "src/engine/prefill.h"

namespace bifrons {
namespace {

// While it lives, gathers what flows between a network's layers, of `rows` rows in one or several passes.
template <class Network>
class LayerStates {
 public:
  LayerStates(Network& network, int64_t rows, bool wanted) : network_(network), rows_(rows) {
    if (!wanted) return;
    network_.ObserveLayers([this](Queue& queue, int64_t layer, View x) { Take(queue, layer, x); });
  }
  ~LayerStates() { network_.ObserveLayers({}); }
  LayerStates(const LayerStates&) = delete;
  LayerStates& operator=(const LayerStates&) = delete;

  // f32 [layers + 2, rows, width]; empty when not wanted.
  Tensor Taken() { return std::move(states_); }

 private:
  void Take(Queue& queue, int64_t layer, View x) {
    const int64_t last = network_.config().layers + 1;
    if (states_.empty()) states_ = Tensor(DType::kF32, {last + 1, rows_, x.width()});
    queue.Wait(queue.Download(x, states_.as<float>() + (layer * rows_ + row_) * x.width()));
    if (layer == last) row_ += x.rows();
  }

  Network& network_;
  int64_t rows_, row_ = 0;  // of the pass that is going on: its first
  Tensor states_;
};

}  // namespace

Result<Trace> TraceCodes(Janus& janus, const std::string& prompt, std::span<const int32_t> codes,
                         bool layers) {
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
  const auto length = static_cast<int64_t>(trace.prompt.conditional.size());
  Queue& queue = janus.steps();
  const auto pool = janus.MakeKvPool();
  KvCache caches[2] = {{pool, length + count}, {pool, length + count}};
  const auto floats = [&](int64_t rows, int64_t width) {
    return janus.device().NewTensor(DType::kF32, {rows, width});
  };
  const DeviceTensor pair = floats(2, hidden), both = floats(2, codebook);
  const DeviceTensor conditional = floats(count, codebook), unconditional = floats(count, codebook);
  const DeviceTensor ids = Uploaded(janus, queue, codes);
  const View x = pair.view(), logits = both.view();
  const auto prefill = [&](std::span<const int32_t> ids_of_prompt, int64_t row) {
    LayerStates states(janus.llama(), length, layers);
    Prefill(janus, ids_of_prompt, {}, 0, caches[row], x.Rows(row, 1));
    return states.Taken();
  };
  trace.hidden_conditional = prefill(trace.prompt.conditional, 0);
  trace.hidden_unconditional = prefill(trace.prompt.unconditional, 1);
  for (int64_t i = 0; i < count; i++) {
    janus.ImageLogits(queue, x, logits);
    queue.Copy(logits.Rows(0, 1), conditional.view().Rows(i, 1));
    queue.Copy(logits.Rows(1, 1), unconditional.view().Rows(i, 1));
    if (i + 1 == count) break;
    janus.EmbedImageTokens(queue, ids.view().Rows(i, 1), x.Rows(0, 1));
    queue.Copy(x.Rows(0, 1), x.Rows(1, 1));
    const SequenceSpan spans[2] = {{&caches[0], length + i, 1, RowClass::kDecode},
                                   {&caches[1], length + i, 1, RowClass::kDecode}};
    janus.llama().Forward(queue, spans, x);
  }
  trace.logits_conditional = queue.Fetch(conditional.view());
  trace.logits_unconditional = queue.Fetch(unconditional.view());
  if (count == tokens && janus.parts().vq_decoder) {
    const DeviceTensor again = Uploaded(janus, janus.images(), codes);
    trace.pixels = janus.images().Fetch(DecodePixels(janus, again.view()).view());
  }
  return trace;
}

namespace {

// Stacks tensors of one shape; a single one stays as it is.
Tensor Stacked(const std::vector<Tensor>& parts) {
  if (parts.empty()) return {};
  Shape shape;
  if (parts.size() > 1) shape.Append(static_cast<int64_t>(parts.size()));
  for (int i = 0; i < parts[0].shape().rank(); i++) shape.Append(parts[0].shape()[i]);
  Tensor all(parts[0].dtype(), shape);
  for (size_t i = 0; i < parts.size(); i++) {
    std::memcpy(static_cast<char*>(all.data()) + i * parts[i].bytes(), parts[i].data(), parts[i].bytes());
  }
  return all;
}

}  // namespace

Result<AnswerTrace> TraceAnswer(Janus& janus, std::span<const Image> images, const std::string& question,
                                bool layers) {
  AnswerRequest request;
  request.turns = {{static_cast<int64_t>(images.size()), question, ""}};
  Queue& queue = janus.images();
  std::vector<Tensor> pixels, features, between, aligned, codes;
  for (const Image& image : images) {
    pixels.push_back(Preprocess(image, janus.image_processor()));
    LayerStates states(janus.siglip(), janus.config().vision.patches(), layers);
    const DeviceTensor seen = janus.SeePixels(pixels.back().view());
    if (layers) between.push_back(states.Taken());
    features.push_back(queue.Fetch(seen.view()));
    request.images.push_back(std::make_shared<const EmbeddedImage>(janus.AlignFeatures(seen.view())));
    aligned.push_back(queue.Fetch(request.images.back()->rows.view()));
    if (!janus.parts().vq_encoder) continue;
    const auto image_codes = EncodeImage(janus, FitForCodes(janus, image));
    codes.emplace_back(DType::kI32, Shape{static_cast<int64_t>(image_codes.size())});
    std::copy(image_codes.begin(), image_codes.end(), codes.back().as<int32_t>());
  }
  AnswerTrace trace;
  trace.ids = janus.EncodeTurns(request.turns).ids;
  LayerStates states(janus.llama(), static_cast<int64_t>(trace.ids.size()), layers);
  BIFRONS_TRY(trace.logits, FirstTokenLogits(janus, request));
  trace.hidden = states.Taken(), trace.vision_hidden = Stacked(between);
  trace.pixel_values = Stacked(pixels), trace.vision = Stacked(features), trace.aligned = Stacked(aligned);
  trace.vq_codes = Stacked(codes);
  return trace;
}

}  // namespace bifrons
