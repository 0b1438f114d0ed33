// The decode product of weights in blocks: a stripe of 32 output rows times activations in small integers.
// What it computes is in kernels/quantize_row.h; the loops are product-inl.h's, where a group of 32 `in` is a
// step. An output's sum rests in memory between groups: the registers are the integers'.
// Included like vec-inl.h, after product-inl.h.

constexpr int kGroup = kQuantizedGroup;  // `in`
constexpr int kGroupPairs = kGroup / 8;  // of words: four `in` of a row each
// Of a row's activations: the words, their scale, minus their sum.
constexpr int kScaleWord = 2 * kGroupPairs;
constexpr int kMinusSumWord = kScaleWord + 1;
constexpr int kGroupWords = kMinusSumWord + 1;

#if defined(__AVX512F__)
constexpr int kMaxGroupTile = 12;  // 24 of 32 registers sum
#elif defined(__AVX2__) || defined(__aarch64__)
constexpr int kMaxGroupTile = 4;
#else
constexpr int kMaxGroupTile = 2;
#endif

// Groups of one visit to a stripe: 4–9 KB of weights, which stay in L1 while all tiles pass over them.
constexpr int64_t kVisitGroups = 8;

typedef uint8_t U8s __attribute__((vector_size(kLanes * 4)));
typedef uint8_t LaneU8s __attribute__((vector_size(kLanes)));

/// a·b + c in one rounding on every instruction set.
BIFRONS_INLINE F32s FusedMulAdd(F32s a, F32s b, F32s c) {
#if defined(__FMA__) || defined(__aarch64__)
  return MulAdd(a, b, c);
#else
  // The product is exact in f64. The sum is rounded to odd there, so that the rounding to f32 sees on which
  // side of a tie the exact sum lies.
  F32s result;
  for (int i = 0; i < kLanes; i++) {
    const double product = static_cast<double>(a[i]) * b[i], addend = c[i], sum = product + addend;
    const double part = sum - product, lost = (product - (sum - part)) + (addend - part);
    int64_t bits = __builtin_bit_cast(int64_t, sum);
    const bool inexact = lost > 0 || lost < 0;  // neither of NaN
    if (inexact && (bits & 1) == 0) bits += (lost > 0) == (sum > 0) ? 1 : -1;
    result[i] = static_cast<float>(__builtin_bit_cast(double, bits));
  }
  return result;
#endif
}

// ---- integers -----------------------------------------------------------------------------------

// Bytes: four weights of each of kLanes rows, made ready for many activations; they stand `kOffset` above the
// weights. Sums: those rows' integer sums over a group, from minus the sum of its activations. Add: the
// products with the four activations of a word.

#if defined(__AVX512F__)

template <int kOffset>
struct Bytes {
  __m512i w;
  BIFRONS_INLINE explicit Bytes(U8s bytes) : w((__m512i)bytes) {}
};

template <int kOffset>
struct Sums {
  __m512i total;
  BIFRONS_INLINE void Start(int32_t minus_sum) { total = _mm512_set1_epi32(minus_sum * kOffset); }
  BIFRONS_INLINE void Add(const Bytes<kOffset>& bytes, uint32_t word) {
    total = _mm512_dpbusd_epi32(total, bytes.w, _mm512_set1_epi32(static_cast<int32_t>(word)));
  }
  BIFRONS_INLINE F32s Finish() const { return (F32s)_mm512_maskz_cvtepi32_ps(0xFFFF, total); }
};

#elif defined(__AVX2__)

// vpmaddubsw adds two products in 16 bits, where those of whole bytes do not fit: of these the magnitude is
// taken, and the activations get the sign.
template <int kOffset>
struct Bytes {
  static constexpr bool kWhole = kOffset == 128;
  __m256i w, sign;
  BIFRONS_INLINE explicit Bytes(U8s bytes) : w((__m256i)bytes), sign() {
    if constexpr (kWhole) {
      sign = (__m256i)(bytes ^ 128);
      w = _mm256_abs_epi8(sign);
    }
  }
};

template <int kOffset>
struct Sums {
  __m256i total;
  BIFRONS_INLINE void Start(int32_t minus_sum) {
    total = _mm256_set1_epi32(Bytes<kOffset>::kWhole ? 0 : minus_sum * kOffset);
  }
  BIFRONS_INLINE void Add(const Bytes<kOffset>& bytes, uint32_t word) {
    __m256i x = _mm256_set1_epi32(static_cast<int32_t>(word));
    if constexpr (Bytes<kOffset>::kWhole) x = _mm256_sign_epi8(x, bytes.sign);
    const __m256i pairs = _mm256_maddubs_epi16(bytes.w, x);
    total = _mm256_add_epi32(total, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  BIFRONS_INLINE F32s Finish() const { return (F32s)_mm256_cvtepi32_ps(total); }
};

#elif defined(__aarch64__)

template <int kOffset>
struct Bytes {
  int8x16_t w;  // of whole bytes the weights themselves
  BIFRONS_INLINE explicit Bytes(U8s bytes) : w((int8x16_t)(kOffset == 128 ? bytes ^ 128 : bytes)) {}
};

#if defined(__ARM_FEATURE_DOTPROD)
template <int kOffset>
struct Sums {
  int32x4_t total;
  BIFRONS_INLINE void Start(int32_t minus_sum) {
    total = vdupq_n_s32(kOffset == 128 ? 0 : minus_sum * kOffset);
  }
  BIFRONS_INLINE void Add(const Bytes<kOffset>& bytes, uint32_t word) {
    total = vdotq_s32(total, bytes.w, vreinterpretq_s8_u32(vdupq_n_u32(word)));
  }
  BIFRONS_INLINE F32s Finish() const { return (F32s)vcvtq_f32_s32(total); }
};
#else
template <int kOffset>
struct Sums {
  int32x4_t low, high;  // of two rows each: two halves of their sums
  BIFRONS_INLINE void Start(int32_t minus_sum) {
    low = high = vdupq_n_s32(0);
    // Every row has two halves, so each starts with half of it; a word's offset is even.
    if constexpr (kOffset != 128) low = high = vdupq_n_s32(minus_sum * kOffset / 2);
  }
  BIFRONS_INLINE void Add(const Bytes<kOffset>& bytes, uint32_t word) {
    const int8x8_t x = vreinterpret_s8_u32(vdup_n_u32(word));
    low = vpadalq_s16(low, vmull_s8(vget_low_s8(bytes.w), x));
    high = vpadalq_s16(high, vmull_s8(vget_high_s8(bytes.w), x));
  }
  BIFRONS_INLINE F32s Finish() const { return (F32s)vcvtq_f32_s32(vpaddq_s32(low, high)); }
};
#endif

#else

template <int kOffset>
struct Bytes {
  __m128i low, high;  // the weights in 16 bits
  BIFRONS_INLINE explicit Bytes(U8s bytes)
      : low(Widened(_mm_unpacklo_epi8((__m128i)bytes, _mm_setzero_si128()))),
        high(Widened(_mm_unpackhi_epi8((__m128i)bytes, _mm_setzero_si128()))) {}
  static BIFRONS_INLINE __m128i Widened(__m128i bytes) {
    return _mm_sub_epi16(bytes, _mm_set1_epi16(kOffset));
  }
};

template <int kOffset>
struct Sums {
  __m128i low, high;  // of two rows each: two halves of their sums
  BIFRONS_INLINE void Start(int32_t) { low = high = _mm_setzero_si128(); }
  BIFRONS_INLINE void Add(const Bytes<kOffset>& bytes, uint32_t word) {
    const __m128i four = _mm_set1_epi32(static_cast<int32_t>(word));
    const __m128i x = _mm_srai_epi16(_mm_unpacklo_epi8(four, four), 8);
    low = _mm_add_epi32(low, _mm_madd_epi16(bytes.low, x));
    high = _mm_add_epi32(high, _mm_madd_epi16(bytes.high, x));
  }
  BIFRONS_INLINE F32s Finish() const {
    const __m128 l = _mm_castsi128_ps(low), h = _mm_castsi128_ps(high);
    return (F32s)_mm_cvtepi32_ps(_mm_add_epi32(_mm_castps_si128(_mm_shuffle_ps(l, h, 0x88)),
                                               _mm_castps_si128(_mm_shuffle_ps(l, h, 0xDD))));
  }
};

#endif

// ---- types: where a stripe (linear.h) has what of a group -----------------------------------------

// GCC 12 would convert lane by lane.
BIFRONS_INLINE F32s LoadU8(const uint8_t* p) {
#if defined(__AVX512F__)
  const __m512i wide = _mm512_maskz_cvtepu8_epi32(0xFFFF, LoadAs<__m128i>(p));
#elif defined(__AVX2__)
  const __m256i wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#else
  const I32s wide = __builtin_convertvector(LoadAs<LaneU8s>(p), I32s);
#endif
  return __builtin_convertvector((I32s)wide, F32s);
}
BIFRONS_INLINE void StoreLowBytes(uint8_t* p, I32s v) {
#if defined(__AVX512F__)
  StoreAs(p, _mm512_maskz_cvtepi32_epi8(0xFFFF, (__m512i)v));
#elif defined(__AVX2__)
  const __m256i sorted = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,  //
                                          0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m256i bytes = _mm256_shuffle_epi8((__m256i)v, sorted);
  StoreAs(p, _mm256_extract_epi32(bytes, 0)), StoreAs(p + 4, _mm256_extract_epi32(bytes, 4));
#else
  StoreAs(p, __builtin_convertvector(v, LaneU8s));
#endif
}

// Groups that each begin with their own scales, and have no minima.
template <int64_t kBytes>
struct ScaledGroups {
  static constexpr bool kHasMinima = false;
  static constexpr int64_t kGroupBytes = kBytes;
  static BIFRONS_INLINE const uint8_t* Group(const uint8_t* stripe, int64_t g) {
    return stripe + g * kGroupBytes;
  }
  static BIFRONS_INLINE F32s Scale(const uint8_t*, int64_t, const uint8_t* group, int column) {
    return LoadF16(reinterpret_cast<const uint16_t*>(group) + column);
  }
};

struct Q8_0Weights : ScaledGroups<kQ8_0GroupBytes> {
  static constexpr int kOffset = 128;
  static BIFRONS_INLINE void Load(const uint8_t* group, int pair, int column, U8s& first, U8s& second) {
    const uint8_t* at = group + kScaleBytes + (2 * pair * kStripe + column) * 4;
    first = LoadAs<U8s>(at), second = LoadAs<U8s>(at + kStripe * 4);
  }
};

// A byte has a value of two words.
BIFRONS_INLINE void LoadNibbles(const uint8_t* nibbles, int pair, int column, U8s& first, U8s& second) {
  const U8s both = LoadAs<U8s>(nibbles + (pair * kStripe + column) * 4);
  first = both & 15, second = both >> 4;
}

struct Q4_0Weights : ScaledGroups<kQ4GroupBytes> {
  static constexpr int kOffset = 8;
  static BIFRONS_INLINE void Load(const uint8_t* group, int pair, int column, U8s& first, U8s& second) {
    LoadNibbles(group + kScaleBytes, pair, column, first, second);
  }
};

struct Q4_KWeights {
  static constexpr int kOffset = 0;
  static constexpr bool kHasMinima = true;
  static constexpr int64_t kGroupBytes = kQ4GroupBytes;
  static BIFRONS_INLINE const uint8_t* Block(const uint8_t* stripe, int64_t g) {
    return stripe + g / kQ4_KGroups * kQ4_KBlockBytes;
  }
  static BIFRONS_INLINE const uint8_t* Group(const uint8_t* stripe, int64_t g) {
    return Block(stripe, g) + 2 * kScaleBytes + g % kQ4_KGroups * kGroupBytes;
  }
  static BIFRONS_INLINE void Load(const uint8_t* group, int pair, int column, U8s& first, U8s& second) {
    LoadNibbles(group + kScaleBytes, pair, column, first, second);
  }
  static BIFRONS_INLINE F32s Scale(const uint8_t* stripe, int64_t g, const uint8_t* group, int column) {
    return LoadF16(reinterpret_cast<const uint16_t*>(Block(stripe, g)) + column) * LoadU8(group + column);
  }
  static BIFRONS_INLINE F32s Minimum(const uint8_t* stripe, int64_t g, const uint8_t* group, int column) {
    return LoadF16(reinterpret_cast<const uint16_t*>(Block(stripe, g)) + kStripe + column) *
           LoadU8(group + kStripe + column);
  }
};

// ---- products -------------------------------------------------------------------------------------

template <class Weights, int kRows>
__attribute__((noinline)) void GroupTile(const uint8_t* stripe, int64_t first, int64_t groups,
                                         const uint32_t* x, Prefetch prefetch, float* sums) {
  using Operand = Bytes<Weights::kOffset>;
  for (int64_t g = first; g < first + groups; g++) {
    const uint8_t* ahead = prefetch.next;
    prefetch.next += prefetch.stride;
    const uint8_t* group = Weights::Group(stripe, g);
    for (int column = 0; column < kStripe; column += kColumns) {
      Sums<Weights::kOffset> a[kRows], b[kRows];
#pragma GCC unroll 12
      for (int m = 0; m < kRows; m++) {
        const auto minus_sum = static_cast<int32_t>(x[kMinusSumWord * kRows + m]);
        a[m].Start(minus_sum), b[m].Start(minus_sum);
      }
#pragma GCC unroll 4
      for (int pair = 0; pair < kGroupPairs; pair++) {
        // A few lines at a time: those of a whole group at once queue up (Zen 4: 15 % of a step of two rows).
        for (int64_t line = 0; line < prefetch.stride; line += 64 * kGroupPairs * kStripe / kColumns)
          __builtin_prefetch(ahead), ahead += 64;
        U8s first0, first1, second0, second1;
        Weights::Load(group, pair, column, first0, second0);
        Weights::Load(group, pair, column + kLanes, first1, second1);
        const uint32_t* words = x + 2 * pair * kRows;
        const Operand even0(first0), even1(first1);
#pragma GCC unroll 12
        for (int m = 0; m < kRows; m++) a[m].Add(even0, words[m]), b[m].Add(even1, words[m]);
        const Operand odd0(second0), odd1(second1);
#pragma GCC unroll 12
        for (int m = 0; m < kRows; m++) a[m].Add(odd0, words[kRows + m]), b[m].Add(odd1, words[kRows + m]);
      }
      const F32s scale0 = Weights::Scale(stripe, g, group, column);
      const F32s scale1 = Weights::Scale(stripe, g, group, column + kLanes);
#pragma GCC unroll 12
      for (int m = 0; m < kRows; m++) {
        float* sum = sums + m * kStripe + column;
        const F32s of_x = Set(__builtin_bit_cast(float, x[kScaleWord * kRows + m]));
        Store(sum, FusedMulAdd(a[m].Finish(), scale0 * of_x, Load(sum)));
        Store(sum + kLanes, FusedMulAdd(b[m].Finish(), scale1 * of_x, Load(sum + kLanes)));
      }
      if constexpr (Weights::kHasMinima) {
        const F32s minimum0 = Weights::Minimum(stripe, g, group, column);
        const F32s minimum1 = Weights::Minimum(stripe, g, group, column + kLanes);
#pragma GCC unroll 12
        for (int m = 0; m < kRows; m++) {
          float* sum = sums + m * kStripe + column;
          const F32s of_x = Set(__builtin_bit_cast(float, x[kScaleWord * kRows + m]));
          const F32s minus_sum = Set(static_cast<float>(static_cast<int32_t>(x[kMinusSumWord * kRows + m])));
          Store(sum, FusedMulAdd(minus_sum, minimum0 * of_x, Load(sum)));
          Store(sum + kLanes, FusedMulAdd(minus_sum, minimum1 * of_x, Load(sum + kLanes)));
        }
      }
    }
    x += kGroupWords * kRows;
  }
}

template <class Weights>
void GroupProductOf(const StripeProduct& p) {
  alignas(64) float sums[kMaxProductRows * kStripe];
  for (int64_t i = 0; i < p.rows * kStripe; i++) sums[i] = 0;
  const auto* stripe = static_cast<const uint8_t*>(p.weights);
  const int64_t groups = p.in / kGroup, tiles = TileCount<kMaxGroupTile>(p.rows);
  const int64_t share = (Weights::kGroupBytes / tiles + 63) / 64 * 64;
  for (int64_t g = 0; g < groups; g += kVisitGroups) {
    const int64_t visit = groups - g < kVisitGroups ? groups - g : kVisitGroups;
    for (int64_t t = 0; t < tiles; t++) {
      const int64_t row = TileBegin<kMaxGroupTile>(t, p.rows),
                    rows = TileBegin<kMaxGroupTile>(t + 1, p.rows) - row;
      const uint32_t* x = static_cast<const uint32_t*>(p.x) + (row * groups + g * rows) * kGroupWords;
      const Prefetch prefetch = {Weights::Group(stripe, g) + kPrefetchBytes + t * visit * share, share};
      WithRowCount<kMaxGroupTile>(rows, [&](auto count) BIFRONS_LAMBDA_INLINE {
        GroupTile<Weights, decltype(count)::value>(stripe, g, visit, x, prefetch, sums + row * kStripe);
      });
    }
  }
  FinishProduct(p, sums);
}

// ---- activations ----------------------------------------------------------------------------------

BIFRONS_INLINE int32_t LargestLane(I32s v) {
  int32_t largest = v[0];
  for (int i = 1; i < kLanes; i++) largest = v[i] > largest ? v[i] : largest;
  return largest;
}

// One group of a row of a tile of n rows: QuantizeRow (kernels/quantize_row.h).
BIFRONS_INLINE void PackGroup(const float* x, int64_t n, uint32_t* to) {
  I32s magnitudes = {};
  for (int i = 0; i < kGroup; i += kLanes) {
    const I32s bits = (I32s)Load(x + i) & 0x7FFFFFFF;  // ordered as the numbers are, NaN above all
    magnitudes = bits > magnitudes ? bits : magnitudes;
  }
  const int32_t largest_bits = LargestLane(magnitudes);
  const auto largest = __builtin_bit_cast(float, largest_bits);
  const bool finite = largest_bits < 0x7F800000, counts = finite && largest >= kLeastQuantized;
  const float scale = !finite ? __builtin_nanf("") : counts ? largest / 127 : 0;
  const F32s inverse = Set(counts ? 127 / largest : 0);
  uint8_t steps[kGroup];  // in two's complement
  I32s sum = {};
  for (int i = 0; i < kGroup; i += kLanes) {
    // Beside 1.5·2²³ the last place is a one, and the mantissa's low bits are a signed integer's.
    const F32s shifted = (counts ? Load(x + i) * inverse : F32s{}) + 12582912.0f;
    const I32s step = (I32s)shifted - 0x4B400000;
    StoreLowBytes(steps + i, step);
    sum += step;
  }
  int32_t total = 0;
  for (int i = 0; i < kLanes; i++) total += sum[i];
  for (int word = 0; word < kScaleWord; word++) to[word * n] = LoadAs<uint32_t>(steps + 4 * word);
  to[kScaleWord * n] = __builtin_bit_cast(uint32_t, scale);
  to[kMinusSumWord * n] = static_cast<uint32_t>(-total);
}

// Of columns [begin, end), whole groups: by tiles of rows, in a tile by group, in a group by word.
void PackGroups(const float* x, int64_t rows, int64_t in, int64_t begin, int64_t end, void* packed) {
  const int64_t groups = in / kGroup, tiles = TileCount<kMaxGroupTile>(rows);
  for (int64_t t = 0; t < tiles; t++) {
    const int64_t row = TileBegin<kMaxGroupTile>(t, rows), n = TileBegin<kMaxGroupTile>(t + 1, rows) - row;
    auto* tile = static_cast<uint32_t*>(packed) + row * groups * kGroupWords;
    for (int64_t m = 0; m < n; m++) {
      for (int64_t g = begin / kGroup; g < end / kGroup; g++)
        PackGroup(x + (row + m) * in + g * kGroup, n, tile + g * kGroupWords * n + m);
    }
  }
}
