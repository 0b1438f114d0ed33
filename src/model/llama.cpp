#include "src/model/llama.h"

#include <cmath>
#include <string>

#include "src/base/stop.h"

namespace bifrons {

Llama::Llama(const Ops& ops, ThreadPool& pool, WeightSource& source, DType compute)
    : ops_(ops), pool_(pool), config_(source.config().llama) {
  const auto pack = [&](const std::string& prefix, std::initializer_list<const char*> names) {
    std::vector<TensorView> parts;
    for (const char* name : names) parts.push_back(source.Get(prefix + name));
    auto linear = ops_.pack_linear(pool_, parts, {}, compute);
    for (const char* name : names) source.Release(prefix + name);
    weight_bytes_ += linear->bytes;
    return linear;
  };
  embed_ = source.Get("llama.embed");
  // Whoever asked for a stop throws away what is built so far.
  for (int64_t i = 0; i < config_.layers && !StopRequested(); i++) {
    const std::string prefix = "llama.layers." + std::to_string(i) + ".";
    Layer layer;
    layer.attention_norm = ToFloats(source.Get(prefix + "attention_norm"));
    layer.ffn_norm = ToFloats(source.Get(prefix + "ffn_norm"));
    layer.qkv = pack(prefix, {"q", "k", "v"});
    layer.o = pack(prefix, {"o"});
    layer.gate_up = pack(prefix, {"gate", "up"});
    layer.down = pack(prefix, {"down"});
    layers_.push_back(std::move(layer));
  }
  norm_ = ToFloats(source.Get("llama.norm"));
}

// In f32 throughout, as modeling_llama.py: LlamaRotaryEmbedding computes its frequencies and angles.
void Llama::ReserveRotary(int64_t positions) {
  if (positions <= rotary_positions_) return;
  const int64_t half = config_.head_dim / 2;
  // Whole blocks, so that a growing sequence does not come here at every step.
  const int64_t reserved = (positions + kRotaryBlock - 1) / kRotaryBlock * kRotaryBlock;
  rotary_positions_ = 0;  // until both are there
  cos_ = Tensor(DType::kF32, {reserved, half});
  sin_ = Tensor(DType::kF32, {reserved, half});
  rotary_positions_ = reserved;
  for (int64_t i = 0; i < half; i++) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(config_.head_dim);
    const float frequency = 1.0f / std::pow(config_.rope_theta, exponent);
    for (int64_t p = 0; p < rotary_positions_; p++) {
      const float angle = static_cast<float>(p) * frequency;
      cos_.as<float>()[p * half + i] = std::cos(angle);
      sin_.as<float>()[p * half + i] = std::sin(angle);
    }
  }
}

void Llama::EmbedText(std::span<const int32_t> ids, float* x) const {
  ops_.gather_rows(pool_, embed_, ids.data(), static_cast<int64_t>(ids.size()), x);
}

void Llama::Reserve(int64_t rows) {
  if (rows <= activations_.rows) return;
  activations_.rows = 0;  // until all are there
  activations_.normed = Tensor(DType::kF32, {rows, config_.hidden});
  activations_.qkv = Tensor(DType::kF32, {rows, (config_.heads + 2 * config_.kv_heads) * config_.head_dim});
  activations_.attended = Tensor(DType::kF32, {rows, config_.heads * config_.head_dim});
  activations_.gate_up = Tensor(DType::kF32, {rows, 2 * config_.intermediate});
  activations_.ffn = Tensor(DType::kF32, {rows, config_.intermediate});
  activations_.rows = rows;
}

// Decode rows share one product (and so one read of the weight); a prefill span is its own product, because
// libraries' results may depend on the row count and so must depend on one request alone.
void Llama::Product(const Linear& weight, std::span<const SequenceSpan> spans, const float* x,
                    bool accumulate, float* y) {
  int64_t row = 0;
  for (size_t i = 0; i < spans.size();) {
    const RowClass row_class = spans[i].row_class;
    int64_t rows = spans[i++].rows;
    if (row_class == RowClass::kDecode) {
      for (; i < spans.size() && spans[i].row_class == RowClass::kDecode; i++) rows += spans[i].rows;
    }
    ops_.linear(pool_, weight, x + row * weight.in, rows, row_class, accumulate, y + row * weight.out);
    row += rows;
  }
}

void Llama::Forward(std::span<const SequenceSpan> spans, float* x) {
  Activations& a = activations_;
  a.positions.clear();
  a.spans.clear();
  int64_t rows = 0;
  for (const SequenceSpan& span : spans) {
    BIFRONS_CHECK(
        span.start + span.rows <= span.cache->capacity() && span.start + span.rows <= config_.max_positions,
        "positions %lld…%lld of %lld", static_cast<long long>(span.start),
        static_cast<long long>(span.start + span.rows), static_cast<long long>(span.cache->capacity()));
    span.cache->PrepareWrite(span.start, span.rows);
    a.spans.push_back({rows, span.rows, span.start, {}});
    for (int64_t r = 0; r < span.rows; r++) a.positions.push_back(static_cast<int32_t>(span.start + r));
    rows += span.rows;
  }
  Reserve(rows);
  for (const SequenceSpan& span : spans) ReserveRotary(span.start + span.rows);

  const AttentionShape shape{config_.heads, config_.kv_heads, config_.head_dim};
  const int64_t q_width = shape.heads * shape.head_dim, kv_width = shape.kv_heads * shape.head_dim;
  const int64_t qkv_width = q_width + 2 * kv_width;
  float* normed = a.normed.as<float>();
  float* qkv = a.qkv.as<float>();

  for (int64_t l = 0; l < config_.layers; l++) {
    const Layer& layer = layers_[static_cast<size_t>(l)];
    for (size_t i = 0; i < spans.size(); i++) a.spans[i].kv = spans[i].cache->layer(l);

    // x = x + o(attention(rope(qkv(norm(x)))))  [LlamaDecoderLayer]
    ops_.rms_norm(pool_, x, layer.attention_norm.data(), config_.norm_eps, rows, config_.hidden, normed);
    Product(*layer.qkv, spans, normed, false, qkv);
    ops_.rope(pool_, qkv, rows, qkv_width, shape.heads + shape.kv_heads, shape.head_dim, a.positions.data(),
              cos_.as<float>(), sin_.as<float>());
    ops_.kv_store(pool_, qkv + q_width, qkv + q_width + kv_width, qkv_width, a.spans, shape);
    ops_.attention(pool_, qkv, qkv_width, a.spans, shape, a.attended.as<float>());
    Product(*layer.o, spans, a.attended.as<float>(), true, x);

    // x = x + down(silu(gate(norm(x))) · up(norm(x)))
    ops_.rms_norm(pool_, x, layer.ffn_norm.data(), config_.norm_eps, rows, config_.hidden, normed);
    Product(*layer.gate_up, spans, normed, false, a.gate_up.as<float>());
    ops_.silu_mul(pool_, a.gate_up.as<float>(), rows, config_.intermediate, a.ffn.as<float>());
    Product(*layer.down, spans, a.ffn.as<float>(), true, x);
  }
  ops_.rms_norm(pool_, x, norm_.data(), config_.norm_eps, rows, config_.hidden, x);
}

}  // namespace bifrons
