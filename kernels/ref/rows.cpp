// Sums are f32 in the order of the loops: an oracle's error is then of the same size as that of what it
// judges, and the tests' tolerances count both.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/host/convert.h"
#include "kernels/host/device.h"
#include "kernels/quantize_row.h"
#include "kernels/ref/queue.h"
#include "kernels/sample_row.h"

namespace bifrons::ref {
namespace {

using host::At;

float Rounded(float x, DType type) { return type == DType::kBF16 ? ToFloat(ToBF16(x)) : x; }

float NumberAt(const void* numbers, DType type, int64_t i) {
  return type == DType::kBF16 ? ToFloat(static_cast<const BF16*>(numbers)[i])
                              : static_cast<const float*>(numbers)[i];
}

void SetNumber(void* numbers, DType type, int64_t i, float x) {
  if (type == DType::kBF16) {
    static_cast<BF16*>(numbers)[i] = ToBF16(x);
  } else {
    static_cast<float*>(numbers)[i] = x;
  }
}

// Not 1 + erf: where x is far below zero nothing would be left of that sum.
float Gelu(float x) { return 0.5f * x * std::erfc(x * -0.70710678118654752f); }

float Silu(float x) { return x / (1.0f + std::exp(-x)); }

// Activations as products take them: the row itself, or in groups of small integers.
struct Activations {
  std::vector<float> numbers;  // [rows, in], rounded to `compute`
  std::vector<int8_t> steps;   // [rows, in]
  std::vector<float> scales;   // [rows, in / 32]
};

Activations Prepared(const RefLinear& linear, const float* x, int64_t rows) {
  const auto n = static_cast<size_t>(rows * linear.in);
  Activations a{{x, x + n}, {}, {}};
  for (float& value : a.numbers) value = Rounded(value, linear.compute);
  const auto quantized = [](const RefRows& part) { return !part.scales.empty(); };
  if (std::any_of(linear.parts.begin(), linear.parts.end(), quantized)) {
    a.steps.resize(n), a.scales.resize(n / kQuantizedGroup);
    QuantizeRow(x, rows * linear.in, a.steps.data(), a.scales.data());
  }
  return a;
}

float SumOfNumbers(const float* x, const float* w, int64_t in) {
  float sum = 0;
  for (int64_t i = 0; i < in; i++) sum += x[i] * w[i];
  return sum;
}

// kernels/quantize_row.h; `o` is the row of the part.
float SumOfGroups(const Activations& a, int64_t row, const RefRows& part, int64_t o, int64_t in) {
  const int64_t groups = in / kQuantizedGroup;
  float total = 0;
  for (int64_t g = 0; g < groups; g++) {
    const int8_t* x = a.steps.data() + row * in + g * kQuantizedGroup;
    const float* w = part.weight.as<float>() + o * in + g * kQuantizedGroup;
    int32_t products = 0, steps = 0;
    for (int64_t i = 0; i < kQuantizedGroup; i++) {
      products += x[i] * static_cast<int32_t>(w[i]);
      steps += x[i];
    }
    const float scale = a.scales[static_cast<size_t>(row * groups + g)];
    total = std::fma(static_cast<float>(products), part.scales.as<float>()[o * groups + g] * scale, total);
    if (!part.minima.empty())
      total = std::fma(static_cast<float>(-steps), part.minima.as<float>()[o * groups + g] * scale, total);
  }
  return total;
}

}  // namespace

void RefQueue::DoMultiply(const Linear& base, View x, RowClass, Epilogue epilogue, View y) {
  const auto& linear = static_cast<const RefLinear&>(base);
  const int64_t in = linear.in, out = linear.out, rows = x.rows();
  const Activations activations = Prepared(linear, At<float>(x), rows);
  std::vector<float> product(static_cast<size_t>(rows * out));
  const float* bias = linear.bias.empty() ? nullptr : linear.bias.as<float>();
  int64_t first = 0;  // output of the part
  for (const RefRows& part : linear.parts) {
    pool_.ParallelFor(part.out, [&](int64_t begin, int64_t end, int) {
      for (int64_t o = begin; o < end; o++) {
        for (int64_t r = 0; r < rows; r++) {
          const float sum = part.scales.empty() ? SumOfNumbers(activations.numbers.data() + r * in,
                                                               part.weight.as<float>() + o * in, in)
                                                : SumOfGroups(activations, r, part, o, in);
          product[r * out + first + o] = bias ? sum + bias[first + o] : sum;
        }
      }
    });
    first += part.out;
  }
  float* result = At<float>(y);
  const int64_t half = out / 2;
  for (int64_t r = 0; r < rows; r++) {
    const float* line = product.data() + r * out;
    for (int64_t o = 0; o < y.width(); o++) {
      float& value = result[r * y.width() + o];
      switch (epilogue) {
        case Epilogue::kNone:
          value = line[o];
          break;
        case Epilogue::kAdd:
          value += line[o];
          break;
        case Epilogue::kGelu:
          value = Gelu(line[o]);
          break;
        case Epilogue::kSiluMul:
          value = Silu(line[o]) * line[half + o];
          break;
      }
    }
  }
}

void RefQueue::DoLookUp(const Table& base, View ids, View y) {
  const auto& table = static_cast<const host::HostTable&>(base);
  const size_t row_bytes = BytesOf(y.type, base.width);
  for (int64_t r = 0; r < ids.rows(); r++) {
    const int32_t id = std::max(0, At<int32_t>(ids)[r * ids.stride]);
    BIFRONS_CHECK(id < base.rows, "id %d of %lld", id, static_cast<long long>(base.rows));
    host::Convert(table.Row(id), y.type, host::Bytes(y) + static_cast<size_t>(r) * row_bytes);
  }
}

void RefQueue::DoRmsNorm(View x, View weight, float eps, View y) {
  const int64_t dim = x.width();
  for (int64_t r = 0; r < x.rows(); r++) {
    const float* in = At<float>(x) + r * x.stride;
    float* out = At<float>(y) + r * y.stride;
    float squares = 0;
    for (int64_t i = 0; i < dim; i++) squares += in[i] * in[i];
    const float scale = 1.0f / std::sqrt(squares / static_cast<float>(dim) + eps);
    for (int64_t i = 0; i < dim; i++) out[i] = in[i] * scale * At<float>(weight)[i];
  }
}

void RefQueue::DoLayerNorm(View x, View weight, View bias, float eps, View y) {
  const int64_t dim = x.width();
  const auto n = static_cast<float>(dim);
  for (int64_t r = 0; r < x.rows(); r++) {
    const float* in = At<float>(x) + r * x.stride;
    float* out = At<float>(y) + r * y.stride;
    float sum = 0, squares = 0;
    for (int64_t i = 0; i < dim; i++) sum += in[i];
    const float mean = sum / n;
    for (int64_t i = 0; i < dim; i++) squares += (in[i] - mean) * (in[i] - mean);
    const float scale = 1.0f / std::sqrt(squares / n + eps);
    for (int64_t i = 0; i < dim; i++)
      out[i] = (in[i] - mean) * scale * At<float>(weight)[i] + At<float>(bias)[i];
  }
}

void RefQueue::DoStoreKv(View k, View v, const KvBatch& base, int64_t layer) {
  const auto& batch = static_cast<const host::HostKvBatch&>(base);
  const KvShape& shape = batch.pages().shape();
  for (int64_t r = 0; r < k.rows(); r++) {
    const host::KvRow& row = batch.row_places()[static_cast<size_t>(r)];
    for (int64_t h = 0; h < shape.kv_heads; h++) {
      const int64_t from = r * k.stride + h * shape.head_dim;
      const auto store = [&](const View& x, uint8_t* to) {
        host::Convert({At<float>(x) + from, DType::kF32, {shape.head_dim}}, shape.type, to);
      };
      store(k, batch.Keys(row, layer, h, row.position));
      store(v, batch.Values(row, layer, h, row.position));
    }
  }
}

void RefQueue::DoRopeStoreKv(View q, View k, View v, const KvBatch& batch, View cos, View sin,
                             int64_t layer) {
  const auto& rows = static_cast<const host::HostKvBatch&>(batch).row_places();
  const int64_t half = cos.width();
  for (const View& x : {q, k}) {
    for (int64_t r = 0; r < x.rows(); r++) {
      const int64_t position = rows[static_cast<size_t>(r)].position;
      BIFRONS_CHECK(position < cos.rows());
      const float *c = At<float>(cos) + position * half, *s = At<float>(sin) + position * half;
      for (int64_t h = 0; h < x.width() / (2 * half); h++) {
        float *low = At<float>(x) + r * x.stride + h * 2 * half, *high = low + half;
        for (int64_t i = 0; i < half; i++) {
          const float a = low[i], b = high[i];
          low[i] = a * c[i] - b * s[i];
          high[i] = b * c[i] + a * s[i];
        }
      }
    }
  }
  DoStoreKv(k, v, batch, layer);
}

// Whatever the cache's type, q and the softmax's weights stay f32: it is a storage type.
void RefQueue::DoAttend(View q, const KvBatch& base, int64_t layer, View y) {
  const auto& batch = static_cast<const host::HostKvBatch&>(base);
  const KvShape& shape = batch.pages().shape();
  const int64_t dim = shape.head_dim, heads = q.width() / dim, group = heads / shape.kv_heads;
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  pool_.ParallelFor(q.rows() * heads, [&](int64_t begin, int64_t end, int) {
    std::vector<float> weights, cached(static_cast<size_t>(dim));
    const auto read = [&](const uint8_t* numbers) {
      host::Convert({numbers, shape.type, {dim}}, DType::kF32, cached.data());
    };
    for (int64_t task = begin; task < end; task++) {
      const int64_t r = task / heads, h = task % heads;
      const host::KvRow& row = batch.row_places()[static_cast<size_t>(r)];
      const float* query = At<float>(q) + r * q.stride + h * dim;
      const int64_t positions = row.position + 1;
      weights.resize(static_cast<size_t>(positions));
      float largest = -INFINITY;
      for (int64_t p = 0; p < positions; p++) {
        read(batch.Keys(row, layer, h / group, p));
        float dot = 0;
        for (int64_t i = 0; i < dim; i++) dot += query[i] * cached[static_cast<size_t>(i)];
        weights[static_cast<size_t>(p)] = dot * scale;
        largest = std::fmax(largest, dot * scale);
      }
      float total = 0;
      for (float& weight : weights) total += weight = std::exp(weight - largest);
      float* out = At<float>(y) + (r * heads + h) * dim;
      std::fill_n(out, dim, 0.0f);
      for (int64_t p = 0; p < positions; p++) {
        read(batch.Values(row, layer, h / group, p));
        for (int64_t i = 0; i < dim; i++)
          out[i] += weights[static_cast<size_t>(p)] * cached[static_cast<size_t>(i)];
      }
      for (int64_t i = 0; i < dim; i++) out[i] /= total;
    }
  });
}

void RefQueue::DoAttendAll(const FullAttention& a, View q, View k, View v, View y) {
  const int64_t n = q.rows(), dim = a.head_dim;
  const double scale = 1.0 / std::sqrt(static_cast<double>(dim));
  const auto at = [&](const View& rows, int64_t row, int64_t column) -> double {
    return Rounded(NumberAt(host::Bytes(rows), q.type, row * rows.stride + column), a.compute);
  };
  pool_.ParallelFor(a.heads * n, [&](int64_t begin, int64_t end, int) {
    std::vector<double> weights(static_cast<size_t>(n));
    for (int64_t task = begin; task < end; task++) {
      const int64_t first = task / n * dim, row = task % n;
      double largest = -INFINITY, sum = 0;
      for (int64_t j = 0; j < n; j++) {
        double dot = 0;
        for (int64_t d = first; d < first + dim; d++) dot += at(q, row, d) * at(k, j, d);
        weights[static_cast<size_t>(j)] = dot * scale;
        largest = std::fmax(largest, dot * scale);
      }
      for (double& w : weights) sum += w = std::exp(w - largest);
      for (int64_t d = first; d < first + dim; d++) {
        double mixed = 0;
        for (int64_t j = 0; j < n; j++) {
          mixed += Rounded(static_cast<float>(weights[static_cast<size_t>(j)]), a.compute) * at(v, j, d);
        }
        SetNumber(host::Bytes(y), y.type, row * a.heads * dim + d, static_cast<float>(mixed / sum));
      }
    }
  });
}

void RefQueue::DoSample(View logits, std::span<const SampleRequest> requests, View tokens) {
  std::vector<float> values(static_cast<size_t>(logits.width()));
  std::vector<uint64_t> buckets(kSampleBuckets);
  for (const SampleRequest& r : requests) {
    const float* row = At<float>(logits) + r.row * logits.stride;
    At<int32_t>(tokens)[r.to] = SampleRow(row, r.paired ? row + logits.stride : nullptr, logits.width(),
                                          r.sampling, r.noise, {values.data(), buckets.data()});
  }
}

}  // namespace bifrons::ref
