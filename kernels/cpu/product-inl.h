// The decode product: a stripe of 32 output rows times a register tile of up to kMaxTile activation rows.
// Included like vec-inl.h, after it.
//
// Loops, outermost first: blocks of `in` (a block of weights stays in L1) · tiles of rows · columns that fit
// the registers · `in`. So weights leave DRAM once whatever the row count, and an output's only accumulator
// visits `in` in ascending order; between blocks it rests in `sums`, which does not change its bits.

constexpr int kColumns = 2 * kLanes;  // per pass: two vectors of accumulators per row
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kMaxTile = 12;  // 24 of 32 registers accumulate
#else
constexpr int kMaxTile = 5;  // 10 of 16; 6 spill when bf16 is widened
#endif

// `in` steps of weights in one block: 8–16 KB.
constexpr int64_t kBlockSteps = 64;

// How far ahead of use weights are fetched: at least a block, so that while all tiles pass over one block the
// next one arrives. The next stripe follows in memory, so running past the end of one is right. (Zen 4: 4 KB
// costs 10 % at 16–48 rows, 16 KB gains nothing.)
constexpr int64_t kPrefetchBytes = 8192;

// Tiles share the rows evenly: 13 rows are 7 + 6, not 12 + 1.
template <int kMost = kMaxTile>
BIFRONS_INLINE int64_t TileCount(int64_t rows) {
  return (rows + kMost - 1) / kMost;
}
template <int kMost = kMaxTile>
BIFRONS_INLINE int64_t TileBegin(int64_t tile, int64_t rows) {
  return tile * rows / TileCount<kMost>(rows);
}

// f(RowCount<rows>{}): a tile's rows, at most kMost and 12, as the compiler has to know them.
template <int kRows>
struct RowCount {
  static constexpr int value = kRows;
};
template <int kMost, class F>
BIFRONS_INLINE void WithRowCount(int64_t rows, const F& f) {
#define BIFRONS_TILE(n) \
  case n:               \
    return f(RowCount < (n) <= kMost ? (n) : 1 > {});
  switch (rows) {
    BIFRONS_TILE(1)
    BIFRONS_TILE(2)
    BIFRONS_TILE(3)
    BIFRONS_TILE(4)
    BIFRONS_TILE(5)
    BIFRONS_TILE(6)
    BIFRONS_TILE(7)
    BIFRONS_TILE(8)
    BIFRONS_TILE(9)
    BIFRONS_TILE(10)
    BIFRONS_TILE(11)
    BIFRONS_TILE(12)
  }
#undef BIFRONS_TILE
}
BIFRONS_INLINE int64_t RoundUpToEven(int64_t n) { return (n + 1) & ~int64_t{1}; }

// ---- how one step (one or two `in`) of a stripe is multiplied -----------------------------------

struct F32Weights {
  static constexpr int kPerStep = 1, kXPerStep = 1, kColumnBytes = 4;
  template <int kRows>
  static BIFRONS_INLINE void Step(const uint8_t* w, const float* x, F32s (&a)[kRows], F32s (&b)[kRows]) {
    const F32s w0 = LoadAs<F32s>(w), w1 = LoadAs<F32s>(w + 4 * kLanes);
#pragma GCC unroll 12
    for (int m = 0; m < kRows; m++) {
      const F32s v = Set(x[m]);
      a[m] = MulAdd(w0, v, a[m]);
      b[m] = MulAdd(w1, v, b[m]);
    }
  }
};

struct F16Weights {
  static constexpr int kPerStep = 1, kXPerStep = 1, kColumnBytes = 2;
  template <int kRows>
  static BIFRONS_INLINE void Step(const uint8_t* w, const float* x, F32s (&a)[kRows], F32s (&b)[kRows]) {
    const auto* half = reinterpret_cast<const uint16_t*>(w);
    const F32s w0 = LoadF16(half), w1 = LoadF16(half + kLanes);
#pragma GCC unroll 12
    for (int m = 0; m < kRows; m++) {
      const F32s v = Set(x[m]);
      a[m] = MulAdd(w0, v, a[m]);
      b[m] = MulAdd(w1, v, b[m]);
    }
  }
};

struct BF16Weights {
  static constexpr int kPerStep = 2, kXPerStep = 2, kColumnBytes = 4;
  template <int kRows>
  static BIFRONS_INLINE void Step(const uint8_t* w, const float* x, F32s (&a)[kRows], F32s (&b)[kRows]) {
    const U32s pairs0 = LoadAs<U32s>(w), pairs1 = LoadAs<U32s>(w + 4 * kLanes);
    const F32s even0 = (F32s)(pairs0 << 16), even1 = (F32s)(pairs1 << 16);
#pragma GCC unroll 12
    for (int m = 0; m < kRows; m++) {
      const F32s v = Set(x[m]);
      a[m] = MulAdd(even0, v, a[m]);
      b[m] = MulAdd(even1, v, b[m]);
    }
    const F32s odd0 = (F32s)(pairs0 & 0xFFFF0000u), odd1 = (F32s)(pairs1 & 0xFFFF0000u);
#pragma GCC unroll 12
    for (int m = 0; m < kRows; m++) {
      const F32s v = Set(x[kRows + m]);
      a[m] = MulAdd(odd0, v, a[m]);
      b[m] = MulAdd(odd1, v, b[m]);
    }
  }
};

#if defined(__AVX512BF16__)
struct BF16DotWeights {
  static constexpr int kPerStep = 2, kXPerStep = 1, kColumnBytes = 4;
  template <int kRows>
  static BIFRONS_INLINE void Step(const uint8_t* w, const float* x, F32s (&a)[kRows], F32s (&b)[kRows]) {
    const __m512bh w0 = (__m512bh)_mm512_load_si512(w), w1 = (__m512bh)_mm512_load_si512(w + 64);
#pragma GCC unroll 12
    for (int m = 0; m < kRows; m++) {
      const __m512bh v = (__m512bh)Set(x[m]);  // two bf16 travel in one f32
      a[m] = _mm512_dpbf16_ps(a[m], w0, v);
      b[m] = _mm512_dpbf16_ps(b[m], w1, v);
    }
  }
};
#endif

// Fetches memory at `next`, `stride` bytes further at every step.
struct Prefetch {
  const uint8_t* next;
  int64_t stride;
};

template <class Weights, int kRows>
__attribute__((noinline)) void Tile(const uint8_t* w, int64_t steps, const float* x, Prefetch prefetch,
                                    float* sums) {
  constexpr int64_t kStepBytes = kStripe * Weights::kColumnBytes;
  for (int column = 0; column < kStripe; column += kColumns) {
    F32s a[kRows], b[kRows];
#pragma GCC unroll 12
    for (int m = 0; m < kRows; m++) {
      a[m] = Load(sums + m * kStripe + column);
      b[m] = Load(sums + m * kStripe + column + kLanes);
    }
    const uint8_t* weights = w + column * Weights::kColumnBytes;
    const float* activations = x;
    const uint8_t* ahead = prefetch.next + column * prefetch.stride / kStripe;
    for (int64_t step = 0; step < steps; step++) {
      for (int64_t line = 0; line < kStepBytes * kColumns / kStripe; line += 64)
        __builtin_prefetch(ahead + line);
      ahead += prefetch.stride;
      Weights::template Step<kRows>(weights, activations, a, b);
      weights += kStepBytes;
      activations += Weights::kXPerStep * kRows;
    }
#pragma GCC unroll 12
    for (int m = 0; m < kRows; m++) {
      Store(sums + m * kStripe + column, a[m]);
      Store(sums + m * kStripe + column + kLanes, b[m]);
    }
  }
}

void FinishProduct(const StripeProduct& p, const float* sums) {
  for (int64_t r = 0; r < p.rows; r++) {
    const float* sum = sums + r * kStripe;
    float* y = p.y + r * p.y_stride;
    for (int c = 0; c < p.columns; c++) {
      const float value = p.bias ? sum[c] + p.bias[c] : sum[c];
      y[c] = p.accumulate ? y[c] + value : value;
    }
  }
}

template <class Weights>
void ProductOf(const StripeProduct& p) {
  alignas(64) float sums[kMaxProductRows * kStripe];
  for (int64_t i = 0; i < p.rows * kStripe; i++) sums[i] = 0;
  const int64_t steps = (p.in + Weights::kPerStep - 1) / Weights::kPerStep;
  // Floats of packed activations per row: rounded up to whole pairs of `in`, halved when pairs share a float.
  const int64_t x_per_row = RoundUpToEven(p.in) * Weights::kXPerStep / Weights::kPerStep;
  const int64_t tiles = TileCount(p.rows);
  constexpr int64_t kStepBytes = kStripe * Weights::kColumnBytes;
  for (int64_t step = 0; step < steps; step += kBlockSteps) {
    const int64_t block = steps - step < kBlockSteps ? steps - step : kBlockSteps;
    const uint8_t* w = static_cast<const uint8_t*>(p.weights) + step * kStripe * Weights::kColumnBytes;
    for (int64_t t = 0; t < tiles; t++) {
      const int64_t row = TileBegin(t, p.rows), rows = TileBegin(t + 1, p.rows) - row;
      const float* x = static_cast<const float*>(p.x) + row * x_per_row + step * Weights::kXPerStep * rows;
      // Every tile fetches its share of what lies ahead, so that memory is busy all the time.
      const Prefetch prefetch = {w + kPrefetchBytes + t * block * kStepBytes / tiles, kStepBytes / tiles};
      WithRowCount<kMaxTile>(rows, [&](auto count) BIFRONS_LAMBDA_INLINE {
        Tile<Weights, decltype(count)::value>(w, block, x, prefetch, sums + row * kStripe);
      });
    }
  }
  FinishProduct(p, sums);
}

// ---- activations --------------------------------------------------------------------------------

BIFRONS_INLINE uint32_t BitsOf(float x) { return __builtin_bit_cast(uint32_t, x); }

// The bits of the f32 whose upper half is x rounded to bf16 (as Store does, one value).
BIFRONS_INLINE uint32_t RoundedBits(float x) {
  const uint32_t bits = BitsOf(x);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (bits | 0x400000u) & 0xFFFF0000u;
  return (bits + 0x7FFFu + ((bits >> 16) & 1)) & 0xFFFF0000u;
}

void PackNumbers(ProductKind kind, bool round_to_bf16, const float* x, int64_t rows, int64_t in,
                 int64_t begin, int64_t end, void* packed) {
  const int64_t padded = RoundUpToEven(in);
  const int64_t tiles = TileCount(rows);
  for (int64_t t = 0; t < tiles; t++) {
    const int64_t row = TileBegin(t, rows), n = TileBegin(t + 1, rows) - row;
    for (int64_t m = 0; m < n; m++) {
      const float* from = x + (row + m) * in;
      if (kind == ProductKind::kBF16Dot) {
        uint32_t* to = static_cast<uint32_t*>(packed) + row * (padded / 2) + m;
        int64_t k = begin;
        for (; k + 1 < end; k += 2) to[k / 2 * n] = RoundedBits(from[k]) >> 16 | RoundedBits(from[k + 1]);
        if (k < end) to[k / 2 * n] = RoundedBits(from[k]) >> 16;
      } else {
        uint32_t* to = static_cast<uint32_t*>(packed) + row * padded + m;
        for (int64_t k = begin; k < end; k++)
          to[k * n] = round_to_bf16 ? RoundedBits(from[k]) : BitsOf(from[k]);
        if (end == in && in < padded) to[in * n] = 0;
      }
    }
  }
}
