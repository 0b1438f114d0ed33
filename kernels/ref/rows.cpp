// Sums are f32 in the order of the loops: an oracle's error is then of the same size as that of what it
// judges, and the tests' tolerances count both.
#include "kernels/ref/rows.h"

#include <cmath>
#include <vector>

namespace bifrons::ref {
namespace {

struct RefLinear : Linear {
  Tensor weight;  // f32 [out, in]: widening is exact
  Tensor bias;    // f32 [out], or empty
};

float Rounded(float x, DType type) { return type == DType::kBF16 ? ToFloat(ToBF16(x)) : x; }

float CacheAt(const void* cache, DType type, int64_t i) {
  return type == DType::kBF16 ? ToFloat(static_cast<const BF16*>(cache)[i])
                              : static_cast<const float*>(cache)[i];
}

void SetCache(void* cache, DType type, int64_t i, float x) {
  if (type == DType::kBF16) {
    static_cast<BF16*>(cache)[i] = ToBF16(x);
  } else {
    static_cast<float*>(cache)[i] = x;
  }
}

}  // namespace

std::unique_ptr<Linear> PackLinear(ThreadPool&, std::span<const TensorView> parts, TensorView bias,
                                   DType compute) {
  BIFRONS_CHECK(!parts.empty());
  auto linear = std::make_unique<RefLinear>();
  linear->in = parts[0].shape[1];
  for (const TensorView& part : parts) linear->out += part.shape[0];
  linear->stored = parts[0].dtype;
  linear->compute = compute;
  linear->weight = Tensor(DType::kF32, {linear->out, linear->in});
  float* w = linear->weight.as<float>();
  for (const TensorView& part : parts) {
    BIFRONS_CHECK(part.shape.rank() == 2 && part.shape[1] == linear->in && part.dtype == linear->stored);
    for (int64_t i = 0; i < part.shape.elements(); i++) *w++ = ElementAt(part, i);
  }
  if (!bias.empty()) {
    BIFRONS_CHECK(bias.shape.elements() == linear->out);
    linear->bias = Tensor(DType::kF32, {linear->out});
    for (int64_t i = 0; i < linear->out; i++) linear->bias.as<float>()[i] = ElementAt(bias, i);
  }
  linear->bytes = linear->weight.bytes() + (bias.empty() ? 0 : linear->bias.bytes());
  return linear;
}

void LinearRows(ThreadPool& pool, const Linear& base, const float* x, int64_t rows, RowClass, bool accumulate,
                float* y) {
  const auto& linear = static_cast<const RefLinear&>(base);
  const int64_t in = linear.in, out = linear.out;
  std::vector<float> rounded(x, x + rows * in);
  for (float& value : rounded) value = Rounded(value, linear.compute);
  const float* bias = linear.bias.empty() ? nullptr : linear.bias.as<float>();
  pool.ParallelFor(out, [&](int64_t begin, int64_t end, int) {
    for (int64_t o = begin; o < end; o++) {
      const float* w = linear.weight.as<float>() + o * in;
      for (int64_t r = 0; r < rows; r++) {
        float sum = 0;
        for (int64_t i = 0; i < in; i++) sum += rounded[r * in + i] * w[i];
        if (bias) sum += bias[o];
        float& result = y[r * out + o];
        result = accumulate ? result + sum : sum;
      }
    }
  });
}

void GatherRows(ThreadPool&, TensorView table, const int32_t* ids, int64_t rows, float* y) {
  const int64_t dim = table.shape[1];
  for (int64_t r = 0; r < rows; r++) {
    BIFRONS_CHECK(ids[r] >= 0 && ids[r] < table.shape[0], "id %d of %lld", ids[r],
                  static_cast<long long>(table.shape[0]));
    for (int64_t i = 0; i < dim; i++) y[r * dim + i] = ElementAt(table, ids[r] * dim + i);
  }
}

void RmsNorm(ThreadPool&, const float* x, const float* weight, float eps, int64_t rows, int64_t dim,
             float* y) {
  for (int64_t r = 0; r < rows; r++) {
    const float* in = x + r * dim;
    float squares = 0;
    for (int64_t i = 0; i < dim; i++) squares += in[i] * in[i];
    const float scale = 1.0f / std::sqrt(squares / static_cast<float>(dim) + eps);
    for (int64_t i = 0; i < dim; i++) y[r * dim + i] = in[i] * scale * weight[i];
  }
}

void LayerNorm(ThreadPool&, const float* x, const float* weight, const float* bias, float eps, int64_t rows,
               int64_t dim, float* y) {
  const auto n = static_cast<float>(dim);
  for (int64_t r = 0; r < rows; r++) {
    const float* in = x + r * dim;
    float sum = 0, squares = 0;
    for (int64_t i = 0; i < dim; i++) sum += in[i];
    const float mean = sum / n;
    for (int64_t i = 0; i < dim; i++) squares += (in[i] - mean) * (in[i] - mean);
    const float scale = 1.0f / std::sqrt(squares / n + eps);
    for (int64_t i = 0; i < dim; i++) y[r * dim + i] = (in[i] - mean) * scale * weight[i] + bias[i];
  }
}

void SiluMul(ThreadPool&, const float* gate_up, int64_t rows, int64_t dim, float* y) {
  for (int64_t r = 0; r < rows; r++) {
    const float *gate = gate_up + r * 2 * dim, *up = gate + dim;
    for (int64_t i = 0; i < dim; i++) y[r * dim + i] = gate[i] / (1.0f + std::exp(-gate[i])) * up[i];
  }
}

void Gelu(ThreadPool& pool, float* x, int64_t n) {
  pool.ParallelFor(n, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) x[i] = 0.5f * x[i] * (1.0f + std::erf(x[i] * 0.70710678118654752f));
  });
}

void GeluMlp(ThreadPool& pool, const Linear& fc1, const Linear& fc2, const float* x, int64_t rows,
             float* scratch, float* y) {
  LinearRows(pool, fc1, x, rows, RowClass::kPrefill, false, scratch);
  Gelu(pool, scratch, rows * fc1.out);
  LinearRows(pool, fc2, scratch, rows, RowClass::kPrefill, true, y);
}

void Rope(ThreadPool&, float* x, int64_t rows, int64_t stride, int64_t heads, int64_t head_dim,
          const int32_t* positions, const float* cos, const float* sin) {
  const int64_t half = head_dim / 2;
  for (int64_t r = 0; r < rows; r++) {
    const float *c = cos + positions[r] * half, *s = sin + positions[r] * half;
    for (int64_t h = 0; h < heads; h++) {
      float *low = x + r * stride + h * head_dim, *high = low + half;
      for (int64_t i = 0; i < half; i++) {
        const float a = low[i], b = high[i];
        low[i] = a * c[i] - b * s[i];
        high[i] = b * c[i] + a * s[i];
      }
    }
  }
}

void KvStore(ThreadPool&, const float* k, const float* v, int64_t stride, std::span<const KvSpan> spans,
             const AttentionShape& shape) {
  for (const KvSpan& span : spans) {
    BIFRONS_CHECK(span.start >= 0 && span.start + span.rows <= span.kv.capacity());
    for (int64_t r = 0; r < span.rows; r++) {
      for (int64_t h = 0; h < shape.kv_heads; h++) {
        const int64_t from = (span.row + r) * stride + h * shape.head_dim;
        void* keys = span.kv.KeysAt(h, span.start + r, shape.head_dim);
        void* values = span.kv.ValuesAt(h, span.start + r, shape.head_dim);
        for (int64_t i = 0; i < shape.head_dim; i++) {
          SetCache(keys, span.kv.dtype, i, k[from + i]);
          SetCache(values, span.kv.dtype, i, v[from + i]);
        }
      }
    }
  }
}

// With a bf16 cache, q and the softmax's weights stay f32: a cache's type is a storage type.
void Attention(ThreadPool& pool, const float* q, int64_t q_stride, std::span<const KvSpan> spans,
               const AttentionShape& shape, float* y) {
  const int64_t dim = shape.head_dim, group = shape.heads / shape.kv_heads;
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  for (const KvSpan& span : spans) {
    const DType type = span.kv.dtype;
    pool.ParallelFor(span.rows * shape.heads, [&](int64_t begin, int64_t end, int) {
      std::vector<float> weights;
      for (int64_t task = begin; task < end; task++) {
        const int64_t r = task / shape.heads, h = task % shape.heads;
        const float* query = q + (span.row + r) * q_stride + h * dim;
        const int64_t positions = span.start + r + 1;
        weights.resize(positions);
        float largest = -INFINITY;
        for (int64_t p = 0; p < positions; p++) {
          const void* keys = span.kv.KeysAt(h / group, p, dim);
          float dot = 0;
          for (int64_t i = 0; i < dim; i++) dot += query[i] * CacheAt(keys, type, i);
          weights[p] = dot * scale;
          largest = std::fmax(largest, weights[p]);
        }
        float total = 0;
        for (float& weight : weights) total += weight = std::exp(weight - largest);
        float* out = y + ((span.row + r) * shape.heads + h) * dim;
        for (int64_t i = 0; i < dim; i++) {
          float sum = 0;
          for (int64_t p = 0; p < positions; p++) {
            sum += weights[p] * CacheAt(span.kv.ValuesAt(h / group, p, dim), type, i);
          }
          out[i] = sum / total;
        }
      }
    });
  }
}

void FullAttentionRows(ThreadPool& pool, const FullAttention& a, void* y) {
  const int64_t n = a.n, dim = a.head_dim;
  const double scale = 1.0 / std::sqrt(static_cast<double>(dim));
  const auto at = [&](const void* rows, int64_t row, int64_t column) -> double {
    return Rounded(CacheAt(rows, a.type, row * a.stride + column), a.compute);
  };
  pool.ParallelFor(a.heads * n, [&](int64_t begin, int64_t end, int) {
    std::vector<double> weights(static_cast<size_t>(n));
    for (int64_t task = begin; task < end; task++) {
      const int64_t first = task / n * dim, row = task % n;
      double largest = -INFINITY, sum = 0;
      for (int64_t j = 0; j < n; j++) {
        double dot = 0;
        for (int64_t d = first; d < first + dim; d++) dot += at(a.q, row, d) * at(a.k, j, d);
        weights[static_cast<size_t>(j)] = dot * scale;
        largest = std::fmax(largest, dot * scale);
      }
      for (double& w : weights) sum += w = std::exp(w - largest);
      for (int64_t d = first; d < first + dim; d++) {
        double mixed = 0;
        for (int64_t j = 0; j < n; j++) {
          mixed += Rounded(static_cast<float>(weights[static_cast<size_t>(j)]), a.compute) * at(a.v, j, d);
        }
        SetCache(y, a.type, row * a.heads * dim + d, static_cast<float>(mixed / sum));
      }
    }
  });
}

}  // namespace bifrons::ref
