// The bodies of attention. Included by rows-inl.h.

#include "kernels/cpu/multiply-inl.h"

// ---- to the past -------------------------------------------------------------------------------

// Numbers that stand together in what is cached; a row is whole ones.
template <class Cached>
constexpr int64_t kTogether = 1;
template <>
constexpr int64_t kTogether<BlockQ8_0> = BlockQ8_0::kValues;

// Vectors of a block.
constexpr int kBlockVectors = BlockQ8_0::kValues / kLanes;

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

template <int kKeys>
BIFRONS_INLINE void Dots(const float* q, const BlockQ8_0* keys, int64_t dim, float scale, float* scores) {
  const int64_t blocks = dim / BlockQ8_0::kValues;
  F32s sums[kKeys] = {};
  for (int64_t b = 0; b < blocks; b++, q += BlockQ8_0::kValues) {
#pragma GCC unroll 4
    for (int k = 0; k < kKeys; k++) {
      const BlockQ8_0& block = keys[k * blocks + b];
      F32s sum = Load(q) * Load(block.q);
#pragma GCC unroll 8
      for (int v = 1; v < kBlockVectors; v++)
        sum = MulAdd(Load(q + v * kLanes), Load(block.q + v * kLanes), sum);
      sums[k] = MulAdd(Set(ToF32(block.scale)), sum, sums[k]);
    }
  }
  if constexpr (kKeys == 4) {
    StoreAs(scores, SumLanesOfFour(sums[0], sums[1], sums[2], sums[3]) * scale);
  } else {
    scores[0] = SumLanes(sums[0]) * scale;
  }
}

// Asks for what is needed a page later, because the processor's own prefetch ends where a page does. Into L2:
// L1 is busy with this page. Saves a tenth of the time over caches in DRAM (a Xeon with AMX).
template <class Cached>
BIFRONS_INLINE void FetchAhead(const Cached* begin, int64_t count) {
  constexpr int64_t kCacheLine = 64;
  const auto* bytes = reinterpret_cast<const char*>(begin);
  const int64_t size = count * static_cast<int64_t>(sizeof(Cached));
  for (int64_t i = 0; i < size; i += kCacheLine) __builtin_prefetch(bytes + i, 0, 2);
}

// y[dim] += Σ weights[p] · values[p], p ascending; kVectors vectors of y stay in registers. Rows of values
// are `row` apart. Meanwhile the same columns of `next`, unless null, are on their way.
template <int kVectors, class Cached>
BIFRONS_INLINE void AddValues(const float* weights, const Cached* values, int64_t positions, int64_t row,
                              const Cached* next, float* y) {
  F32s sums[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; v++) sums[v] = Load(y + v * kLanes);
  for (int64_t p = 0; p < positions; p++) {
    if (next) FetchAhead(next + p * row, kVectors * kLanes / kTogether<Cached>);
    if constexpr (kTogether<Cached> == 1) {
      const F32s weight = Set(weights[p]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; v++)
        sums[v] = MulAdd(weight, Load(values + p * row + v * kLanes), sums[v]);
    } else {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; v += kBlockVectors) {
        const Cached& block = values[p * row + v / kBlockVectors];
        const F32s weight = Set(weights[p] * ToF32(block.scale));
#pragma GCC unroll 8
        for (int i = 0; i < kBlockVectors; i++)
          sums[v + i] = MulAdd(weight, Load(block.q + i * kLanes), sums[v + i]);
      }
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; v++) Store(y + v * kLanes, sums[v]);
}

// Page by page: a head's keys or values of one stay in L1 while all queries of the task pass over them.
template <class Cached>
void AttentionOf(const AttentionTask& task) {
  constexpr int64_t kPer = kTogether<Cached>;
  const int64_t dim = task.head_dim, row = dim / kPer;
  const int64_t positions = task.positions, page_positions = task.page_positions;
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
        if (h == 0) FetchAhead(next + p * row, 4 * row);
        Dots<4>(q, keys + p * row, dim, task.scale, scores + p);
      }
      for (; p < n; p++) Dots<1>(q, keys + p * row, dim, task.scale, scores + p);
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
        const Cached* ahead = next && h == 0 ? next + i / kPer : nullptr;
        AddValues<8>(weights, values + i / kPer, n, row, ahead, y + i);
      }
      constexpr int kVectors = kPer == 1 ? 1 : kBlockVectors;
      for (; i + kVectors * kLanes <= dim; i += kVectors * kLanes)
        AddValues<kVectors, Cached>(weights, values + i / kPer, n, row, nullptr, y + i);
      if constexpr (kPer == 1) {
        for (; i < dim; i++) {
          for (int64_t p = 0; p < n; p++) y[i] += weights[p] * ToF32(values[p * dim + i]);
        }
      }
    }
  }
  for (int64_t h = 0; h < task.queries; h++) {
    for (int64_t i = 0; i < dim; i++) task.y[h * dim + i] /= sums[h];
  }
}

// ---- of all rows to each other -----------------------------------------------------------------

void Multiply(const float* a, int64_t lda, const float* b, int64_t ldb, int64_t k, int64_t n, float* c,
              int64_t ldc) {
  // As many accumulators as leave registers for a line of b: 24 of 32, or 12 of 16.
  constexpr int kRows = kLanes == 16 ? 8 : 4;
  constexpr int kVectors = 3;
  for (int64_t r = 0; r < kMultiplyRows; r += kRows) {
    int64_t j = 0;
    for (; j + kVectors * kLanes <= n; j += kVectors * kLanes) {
      MultiplyTile<kRows, kVectors>(a + r * lda, lda, b + j, ldb, k, c + r * ldc + j, ldc);
    }
    for (; j < n; j += kLanes) MultiplyTile<kRows, 1>(a + r * lda, lda, b + j, ldb, k, c + r * ldc + j, ldc);
  }
}

float ExponentialsOf(float* scores, int64_t n) { return Exponentials(scores, n); }

void Softmax(float* row, int64_t n, bool round_to_bf16) {
  const float scale = 1.0f / Exponentials(row, n);
  if (round_to_bf16) {
    for (int64_t i = 0; i < n; i += kLanes) {
      BF16 rounded[kLanes];
      Store(rounded, Load(row + i));
      Store(row + i, Load(rounded));
    }
  }
  for (int64_t i = 0; i < n; i++) row[i] *= scale;
}
