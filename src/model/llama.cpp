#include "src/model/llama.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "src/base/stop.h"

namespace bifrons {

Llama::Llama(Device& device, WeightSource& source, DType compute)
    : device_(device), config_(source.config().llama) {
  const auto pack = [&](const std::string& prefix, std::initializer_list<const char*> names) {
    std::vector<TensorView> parts;
    for (const char* name : names) parts.push_back(source.Get(prefix + name));
    auto linear = device_.PackLinear(parts, {}, compute);
    for (const char* name : names) source.Release(prefix + name);
    weight_bytes_ += linear->bytes;
    return linear;
  };
  const auto vector = [&](const std::string& name) {
    DeviceTensor packed = device_.PackVector(ToFloats(source.Get(name)));
    source.Release(name);
    return packed;
  };
  embed_ = device_.PackTable(source.Get("llama.embed"));
  source.DropPages();  // of the table, where a device has copied it
  // Whoever asked for a stop throws away what is built so far.
  for (int64_t i = 0; i < config_.layers && !StopRequested(); i++) {
    const std::string prefix = "llama.layers." + std::to_string(i) + ".";
    Layer layer;
    layer.attention_norm = vector(prefix + "attention_norm");
    layer.ffn_norm = vector(prefix + "ffn_norm");
    layer.qkv = pack(prefix, {"q", "k", "v"});
    layer.o = pack(prefix, {"o"});
    layer.gate_up = pack(prefix, {"gate", "up"});
    layer.down = pack(prefix, {"down"});
    layers_.push_back(std::move(layer));
  }
  norm_ = vector("llama.norm");
}

// In f32 throughout, as modeling_llama.py: LlamaRotaryEmbedding computes its frequencies and angles.
void Llama::ReserveRotary(int64_t positions) {
  if (!sin_.empty() && positions <= sin_.shape()[0]) return;
  const int64_t half = config_.head_dim / 2;
  // Whole blocks, so that a growing sequence does not come here at every step.
  const int64_t reserved = (positions + kRotaryBlock - 1) / kRotaryBlock * kRotaryBlock;
  Tensor cos(DType::kF32, {reserved, half}), sin(DType::kF32, {reserved, half});
  for (int64_t i = 0; i < half; i++) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(config_.head_dim);
    const float frequency = 1.0f / std::pow(config_.rope_theta, exponent);
    for (int64_t p = 0; p < reserved; p++) {
      const float angle = static_cast<float>(p) * frequency;
      cos.as<float>()[p * half + i] = std::cos(angle);
      sin.as<float>()[p * half + i] = std::sin(angle);
    }
  }
  // Both or neither, should memory not suffice.
  DeviceTensor packed = device_.PackTensor(cos.view());
  sin_ = device_.PackTensor(sin.view());
  cos_ = std::move(packed);
}

std::unique_ptr<KvBatch> Llama::MakeBatch(Queue& queue, std::span<const SequenceSpan> spans) {
  for (const SequenceSpan& span : spans) {
    const int64_t end = span.start + span.rows;
    BIFRONS_CHECK(end <= span.cache->capacity() && end <= config_.max_positions,
                  "positions %lld…%lld of %lld", static_cast<long long>(span.start),
                  static_cast<long long>(end), static_cast<long long>(span.cache->capacity()));
    BIFRONS_CHECK(span.cache->pool() == spans[0].cache->pool(), "sequences of several pools");
    span.cache->PrepareWrite(span.start, span.rows);
    ReserveRotary(end);
  }
  std::vector<KvSpan> placed;
  for (const SequenceSpan& span : spans) placed.push_back({span.rows, span.start, span.cache->pages()});
  return queue.MakeBatch(spans[0].cache->pool()->pages(), placed);
}

namespace {

// Decode rows share one product (and so one read of the weight); a prefill span is its own product, because
// libraries' results may depend on the row count and so must depend on one request alone.
template <class Give>
void ForProducts(std::span<const SequenceSpan> spans, const Give& give) {
  int64_t row = 0;
  for (size_t i = 0; i < spans.size();) {
    const RowClass row_class = spans[i].row_class;
    int64_t rows = spans[i++].rows;
    if (row_class == RowClass::kDecode) {
      for (; i < spans.size() && spans[i].row_class == RowClass::kDecode; i++) rows += spans[i].rows;
    }
    give(row, rows, row_class);
    row += rows;
  }
}

void Multiply(Queue& queue, Zone zone, const Linear& weight, std::span<const SequenceSpan> spans, View x,
              Epilogue epilogue, View y) {
  const Within within(queue, zone);
  ForProducts(spans, [&](int64_t row, int64_t rows, RowClass row_class) {
    queue.Multiply(weight, x.Rows(row, rows), row_class, epilogue, y.Rows(row, rows));
  });
}

void MultiplyNormed(Queue& queue, Zone zone, const Linear& weight, std::span<const SequenceSpan> spans,
                    View x, View norm, float eps, Epilogue epilogue, View y) {
  const Within within(queue, zone);
  ForProducts(spans, [&](int64_t row, int64_t rows, RowClass row_class) {
    queue.MultiplyNormed(weight, x.Rows(row, rows), norm, eps, row_class, epilogue, y.Rows(row, rows));
  });
}

}  // namespace

void Llama::Forward(Queue& queue, std::span<const SequenceSpan> spans, View x) {
  const Within within(queue, spans[0].row_class == RowClass::kDecode ? "decode" : "prefill");
  const auto batch = MakeBatch(queue, spans);
  const int64_t rows = batch->rows();
  const int64_t q_width = config_.heads * config_.head_dim, kv_width = config_.kv_heads * config_.head_dim;
  const View qkv = Grown(device_, activations_.qkv, rows, q_width + 2 * kv_width);
  const View attended = Grown(device_, activations_.attended, rows, q_width);
  const View ffn = Grown(device_, activations_.ffn, rows, config_.intermediate);
  const View q = qkv.Columns(0, q_width), k = qkv.Columns(q_width, kv_width),
             v = qkv.Columns(q_width + kv_width, kv_width);

  const auto show = [&](int64_t layer) {
    if (observer_) observer_(queue, layer, x);
  };

  const auto layers = [&] {
    show(0);
    for (int64_t l = 0; l < config_.layers; l++) {
      const Layer& layer = layers_[static_cast<size_t>(l)];
      // x = x + o(attention(rope(qkv(norm(x)))))  [LlamaDecoderLayer]
      MultiplyNormed(queue, Zone::kQkv, *layer.qkv, spans, x, layer.attention_norm.view(), config_.norm_eps,
                     Epilogue::kNone, qkv);
      queue.RopeStoreKv(q, k, v, *batch, cos_.view(), sin_.view(), l);
      queue.Attend(q, *batch, l, attended);
      Multiply(queue, Zone::kAttentionOut, *layer.o, spans, attended, Epilogue::kAdd, x);

      // x = x + down(silu(gate(norm(x))) · up(norm(x)))
      MultiplyNormed(queue, Zone::kFeedForward, *layer.gate_up, spans, x, layer.ffn_norm.view(),
                     config_.norm_eps, Epilogue::kSiluMul, ffn);
      Multiply(queue, Zone::kFeedForward, *layer.down, spans, ffn, Epilogue::kAdd, x);
      show(l + 1);
    }
    queue.RmsNorm(x, norm_.view(), config_.norm_eps, x);
    show(config_.layers + 1);
  };
  const bool repeats = std::all_of(spans.begin(), spans.end(), [](const SequenceSpan& span) {
    return span.row_class == RowClass::kDecode;
  });
  if (!repeats || observer_) return layers();
  if (decode_ == nullptr) decode_ = queue.MakeRepetition();
  queue.Repeat(*decode_, std::array{x, qkv, attended, ffn, cos_.view(), sin_.view()}, *batch, layers);
}

}  // namespace bifrons
