// The other row ops. Included like vec-inl.h, after product-inl.h; ends with the table of this instruction
// set.
//
// Every sum has one order per row: lane i adds the elements i, i + kLanes, …, the lanes are paired
// (SumLanes), the elements after the last whole vector follow one by one.

void RmsNorm(const float* x, const float* weight, float eps, int64_t dim, float* y) {
  F32s squares = {};
  int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    const F32s v = Load(x + i);
    squares = MulAdd(v, v, squares);
  }
  float sum = SumLanes(squares);
  for (int64_t j = i; j < dim; j++) sum += x[j] * x[j];
  const float scale = 1.0f / __builtin_sqrtf(sum / static_cast<float>(dim) + eps);
  for (i = 0; i + kLanes <= dim; i += kLanes) Store(y + i, Load(x + i) * scale * Load(weight + i));
  for (; i < dim; i++) y[i] = x[i] * scale * weight[i];
}

// Two passes over the row, which is in the cache: the squares of what is left of the mean do not cancel.
void LayerNorm(const float* x, const float* weight, const float* bias, float eps, int64_t dim, float* y) {
  const auto n = static_cast<float>(dim);
  F32s total = {};
  int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) total += Load(x + i);
  float sum = SumLanes(total);
  for (int64_t j = i; j < dim; j++) sum += x[j];
  const F32s mean = Set(sum / n);
  F32s squares = {};
  for (i = 0; i + kLanes <= dim; i += kLanes) {
    const F32s v = Load(x + i) - mean;
    squares = MulAdd(v, v, squares);
  }
  float variance = SumLanes(squares);
  for (int64_t j = i; j < dim; j++) variance += (x[j] - mean[0]) * (x[j] - mean[0]);
  const float scale = 1.0f / __builtin_sqrtf(variance / n + eps);
  for (i = 0; i + kLanes <= dim; i += kLanes) {
    Store(y + i, MulAdd((Load(x + i) - mean) * scale, Load(weight + i), Load(bias + i)));
  }
  for (; i < dim; i++) y[i] = (x[i] - mean[0]) * scale * weight[i] + bias[i];
}

// Runs `f` over vectors of x; the last, partial one passes through a padded copy, so that an element's result
// does not depend on where it stands.
template <class F>
BIFRONS_INLINE void ForVectors(int64_t n, const float* a, const float* b, float* y, F f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, f(Load(a + i), Load(b + i)));
  if (i < n) StoreFirst(y + i, n - i, f(LoadFirst(a + i, n - i), LoadFirst(b + i, n - i)));
}

void SiluMul(const float* gate, const float* up, int64_t n, float* y) {
  ForVectors(n, gate, up, y, [](F32s g, F32s u) BIFRONS_LAMBDA_INLINE { return Silu(g) * u; });
}

void Gelu(float* x, int64_t n) {
  ForVectors(n, x, x, x, [](F32s v, F32s) BIFRONS_LAMBDA_INLINE { return GeluOf(v); });
}

void Rotate(float* low, float* high, const float* cos, const float* sin, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const float a = low[i], b = high[i];
    low[i] = a * cos[i] - b * sin[i];
    high[i] = b * cos[i] + a * sin[i];
  }
}

void ToBF16s(const float* x, int64_t n, BF16* y) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, Load(x + i));
  if (i < n) StoreFirst(y + i, n - i, LoadFirst(x + i, n - i));
}

// ---- attention ----------------------------------------------------------------------------------

// q · k for kKeys (4, or 1 at the end) consecutive keys at once, to have that many independent sums; each has
// the same order.
template <int kKeys, class Cached>
BIFRONS_INLINE void Dots(const float* q, const Cached* keys, int64_t dim, float scale, float* scores) {
  F32s sums[kKeys] = {};
  int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    const F32s query = Load(q + i);
#pragma GCC unroll 4
    for (int k = 0; k < kKeys; k++) sums[k] = MulAdd(query, Load(keys + k * dim + i), sums[k]);
  }
  float dots[kKeys];
  if constexpr (kKeys == 4) {
    StoreAs(dots, SumLanesOfFour(sums[0], sums[1], sums[2], sums[3]));
  } else {
    dots[0] = SumLanes(sums[0]);
  }
  for (int k = 0; k < kKeys; k++) {
    float dot = dots[k];
    for (int64_t j = i; j < dim; j++) dot += q[j] * ToF32(keys[k * dim + j]);
    scores[k] = dot * scale;
  }
}

// Asks for what is needed a page later, because the processor's own prefetch ends where a page does. Into L2:
// L1 is busy with this page. Saves a tenth of the time over caches in DRAM (a Xeon with AMX).
template <class Cached>
BIFRONS_INLINE void Prefetch(const Cached* begin, int64_t count) {
  constexpr int64_t kCacheLine = 64;
  const auto* bytes = reinterpret_cast<const char*>(begin);
  const int64_t size = count * static_cast<int64_t>(sizeof(Cached));
  for (int64_t i = 0; i < size; i += kCacheLine) __builtin_prefetch(bytes + i, 0, 2);
}

// y[dim] += Σ weights[p] · values[p], p ascending; kVectors vectors of y stay in registers. Meanwhile the
// same columns of `next`, unless null, are on their way.
template <int kVectors, class Cached>
BIFRONS_INLINE void AddValues(const float* weights, const Cached* values, int64_t positions, int64_t dim,
                              const Cached* next, float* y) {
  F32s sums[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; v++) sums[v] = Load(y + v * kLanes);
  for (int64_t p = 0; p < positions; p++) {
    const F32s weight = Set(weights[p]);
    if (next) Prefetch(next + p * dim, kVectors * kLanes);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; v++) sums[v] = MulAdd(weight, Load(values + p * dim + v * kLanes), sums[v]);
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; v++) Store(y + v * kLanes, sums[v]);
}

// Page by page: a head's keys or values of one stay in L1 while all queries of the task pass over them.
template <class Cached>
void AttentionOf(const AttentionTask& task) {
  const int64_t dim = task.head_dim, positions = task.positions, page_positions = task.page_positions;
  const int64_t stride = (positions + 15) / 16 * 16;
  const auto rows_of = [&](int64_t begin, size_t head) BIFRONS_LAMBDA_INLINE {
    return reinterpret_cast<const Cached*>(task.pages[begin / page_positions] + head);
  };
  for (int64_t begin = 0; begin < positions; begin += page_positions) {
    const bool last = begin + page_positions >= positions;
    const int64_t n = last ? positions - begin : page_positions;
    const Cached* keys = rows_of(begin, task.keys);
    const Cached* next = last ? rows_of(0, task.values) : rows_of(begin + page_positions, task.keys);
    for (int64_t h = 0; h < task.queries; h++) {
      const float* q = task.q + h * dim;
      float* scores = task.scores + h * stride + begin;
      int64_t p = 0;
      for (; p + 4 <= n; p += 4) {
        if (h == 0) Prefetch(next + p * dim, 4 * dim);
        Dots<4>(q, keys + p * dim, dim, task.scale, scores + p);
      }
      for (; p < n; p++) Dots<1>(q, keys + p * dim, dim, task.scale, scores + p);
    }
  }
  float sums[kMaxAttentionQueries];
  for (int64_t h = 0; h < task.queries; h++) {
    sums[h] = Exponentials(task.scores + h * stride, positions);
    for (int64_t i = 0; i < dim; i++) task.y[h * dim + i] = 0;
  }
  for (int64_t begin = 0; begin < positions; begin += page_positions) {
    const bool last = begin + page_positions >= positions;
    const int64_t n = last ? positions - begin : page_positions;
    const Cached* values = rows_of(begin, task.values);
    const Cached* next = last ? nullptr : rows_of(begin + page_positions, task.values);
    for (int64_t h = 0; h < task.queries; h++) {
      const float* weights = task.scores + h * stride + begin;
      float* y = task.y + h * dim;
      int64_t i = 0;
      for (; i + 8 * kLanes <= dim; i += 8 * kLanes) {
        const Cached* ahead = next && h == 0 ? next + i : nullptr;
        AddValues<8>(weights, values + i, n, dim, ahead, y + i);
      }
      for (; i + kLanes <= dim; i += kLanes)
        AddValues<1, Cached>(weights, values + i, n, dim, nullptr, y + i);
      for (; i < dim; i++) {
        for (int64_t p = 0; p < n; p++) y[i] += weights[p] * ToF32(values[p * dim + i]);
      }
    }
  }
  for (int64_t h = 0; h < task.queries; h++) {
    for (int64_t i = 0; i < dim; i++) task.y[h * dim + i] /= sums[h];
  }
}

// ---- the processor's limits ---------------------------------------------------------------------

// The inner loop of a product whose operands never leave the registers: 24 (or 10) independent sums.
constexpr int kPeakSums = 2 * kMaxTile;

template <class Step>
BIFRONS_INLINE void PeakLoop(int64_t rounds, Step step) {
  F32s sums[kPeakSums];
#pragma GCC unroll 24
  for (int i = 0; i < kPeakSums; i++) sums[i] = Set(static_cast<float>(i));
  for (int64_t round = 0; round < rounds; round++) {
#pragma GCC unroll 24
    for (int i = 0; i < kPeakSums; i++) {
      sums[i] = step(sums[i]);
      asm volatile("" : "+" BIFRONS_VECTOR_REGISTER(sums[i]));  // a sum that is not computed measures nothing
    }
  }
}

int64_t PeakF32(int64_t rounds) {
  F32s a = Set(0.5f), b = Set(0.25f);
  asm volatile("" : "+" BIFRONS_VECTOR_REGISTER(a), "+" BIFRONS_VECTOR_REGISTER(b));
  PeakLoop(rounds, [&](F32s sum) BIFRONS_LAMBDA_INLINE { return MulAdd(a, b, sum); });
  return rounds * kPeakSums * kLanes;
}

#if defined(__AVX512BF16__)
int64_t PeakBF16(int64_t rounds) {
  F32s a = Set(0.5f), b = Set(0.25f);
  asm volatile("" : "+" BIFRONS_VECTOR_REGISTER(a), "+" BIFRONS_VECTOR_REGISTER(b));
  PeakLoop(rounds,
           [&](F32s sum) BIFRONS_LAMBDA_INLINE { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); });
  return rounds * kPeakSums * kLanes * 2;
}
#else
constexpr int64_t (*PeakBF16)(int64_t) = nullptr;
#endif

constexpr RowKernels kKernels = {
    PackRows,           Product,           RmsNorm, LayerNorm, SiluMul, Gelu, Rotate, ToBF16s,
    AttentionOf<float>, AttentionOf<BF16>, PeakF32, PeakBF16,
};
