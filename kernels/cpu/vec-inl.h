// One vector type per instruction set, on GCC's vector extensions, so that every SIMD body is written once.
//
// For files that are compiled for one instruction set (simd.cmake) only, included once per file, inside an
// anonymous namespace: code compiled with wider instructions must not have external linkage, or the linker
// could hand it to the baseline. For the same reason nothing here calls inline functions of other headers or
// of the standard library. The including file must have included <cstdint>, src/base/dtype.h and its
// intrinsics header.

#define BIFRONS_INLINE inline __attribute__((always_inline))
#define BIFRONS_LAMBDA_INLINE __attribute__((always_inline))
#if defined(__x86_64__)
#define BIFRONS_VECTOR_REGISTER "v"
#else
#define BIFRONS_VECTOR_REGISTER "w"
#endif

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;  // SSE2, NEON
#endif

typedef float F32s __attribute__((vector_size(kLanes * 4)));
typedef int32_t I32s __attribute__((vector_size(kLanes * 4)));
typedef uint32_t U32s __attribute__((vector_size(kLanes * 4)));
typedef uint16_t U16s __attribute__((vector_size(kLanes * 2)));

template <class V>
BIFRONS_INLINE V LoadAs(const void* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof(V));
  return v;
}
template <class V>
BIFRONS_INLINE void StoreAs(void* p, V v) {
  __builtin_memcpy(p, &v, sizeof(V));
}
BIFRONS_INLINE F32s Load(const float* p) { return LoadAs<F32s>(p); }
BIFRONS_INLINE void Store(float* p, F32s v) { StoreAs(p, v); }
// x − 0 is x, whatever its sign, so the compiler leaves the subtraction out; x + 0 it could not.
BIFRONS_INLINE F32s Set(float x) { return x - F32s{}; }

/// a·b + c: one rounding where the instruction set has it, else two.
BIFRONS_INLINE F32s MulAdd(F32s a, F32s b, F32s c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__FMA__)
  return _mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
  return vfmaq_f32(c, a, b);
#else
  return a * b + c;
#endif
}

BIFRONS_INLINE F32s Max(F32s a, F32s b) { return a > b ? a : b; }

typedef float F32x4 __attribute__((vector_size(16)));

/// The upper half of the lanes added to the lower, until four are left.
BIFRONS_INLINE F32x4 SumToFour(F32s v) {
#if defined(__AVX512F__)
  const auto eight = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                     __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
#else
  const auto eight = v;
#endif
#if defined(__AVX2__)
  return __builtin_shufflevector(eight, eight, 0, 1, 2, 3) +
         __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
#else
  return eight;
#endif
}

/// Sum of the lanes, pairing i with i + kLanes/2, then i + kLanes/4, …
BIFRONS_INLINE float SumLanes(F32s v) {
  const F32x4 four = SumToFour(v);
  return (four[0] + four[2]) + (four[1] + four[3]);
}

/// SumLanes of four vectors, in the same order.
BIFRONS_INLINE F32x4 SumLanesOfFour(F32s a, F32s b, F32s c, F32s d) {
  const F32x4 a4 = SumToFour(a), b4 = SumToFour(b), c4 = SumToFour(c), d4 = SumToFour(d);
  const F32x4 ab = __builtin_shufflevector(a4, b4, 0, 1, 4, 5) + __builtin_shufflevector(a4, b4, 2, 3, 6, 7);
  const F32x4 cd = __builtin_shufflevector(c4, d4, 0, 1, 4, 5) + __builtin_shufflevector(c4, d4, 2, 3, 6, 7);
  return __builtin_shufflevector(ab, cd, 0, 2, 4, 6) + __builtin_shufflevector(ab, cd, 1, 3, 5, 7);
}

BIFRONS_INLINE float MaxLane(F32s v) {
  float lane[kLanes];
  StoreAs(lane, v);
  float largest = lane[0];
  for (int i = 1; i < kLanes; i++) largest = lane[i] > largest ? lane[i] : largest;
  return largest;
}

/// The f32 whose upper half is the bf16.
BIFRONS_INLINE F32s Load(const BF16* p) {
  return (F32s)(__builtin_convertvector(LoadAs<U16s>(p), U32s) << 16);
}
/// kLanes small integers. GCC 12 would convert them lane by lane.
BIFRONS_INLINE F32s Load(const int8_t* p) {
#if defined(__AVX512F__)
  return __builtin_convertvector((I32s)_mm512_maskz_cvtepi8_epi32(0xFFFF, LoadAs<__m128i>(p)), F32s);
#elif defined(__AVX2__)
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#elif defined(__aarch64__)
  const int8x8_t bytes = vreinterpret_s8_s32(vdup_n_s32(LoadAs<int32_t>(p)));
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))));
#else
  const __m128i bytes = _mm_cvtsi32_si128(LoadAs<int32_t>(p)), pairs = _mm_unpacklo_epi8(bytes, bytes);
  return _mm_cvtepi32_ps(_mm_srai_epi32(_mm_unpacklo_epi16(pairs, pairs), 24));
#endif
}
BIFRONS_INLINE float ToF32(float x) { return x; }
BIFRONS_INLINE float ToF32(BF16 x) { return __builtin_bit_cast(float, uint32_t{x.bits} << 16); }

/// Rounds to nearest, ties to even; NaN stays NaN: ToBF16 of src/base/dtype.h.
BIFRONS_INLINE void Store(BF16* p, F32s v) {
  const U32s bits = (U32s)v;
  const U32s nearest = bits + 0x7FFFu + ((bits >> 16) & 1);
  const U32s rounded = v != v ? bits | 0x400000u : nearest;
  StoreAs(p, __builtin_convertvector(rounded >> 16, U16s));
}

/// The first n < kLanes elements; the other lanes are zero.
template <class T>
BIFRONS_INLINE F32s LoadFirst(const T* p, int64_t n) {
  T lanes[kLanes] = {};
  __builtin_memcpy(lanes, p, static_cast<size_t>(n) * sizeof(T));
  return Load(lanes);
}
template <class T>
BIFRONS_INLINE void StoreFirst(T* p, int64_t n, F32s v) {
  T lanes[kLanes];
  Store(lanes, v);
  __builtin_memcpy(p, lanes, static_cast<size_t>(n) * sizeof(T));
}

BIFRONS_INLINE F32s LoadF16(const uint16_t* p) {
#if defined(__AVX512F__)
  return _mm512_maskz_cvtph_ps(0xFFFF, LoadAs<__m256i>(p));  // GCC 12 warns of the unmasked one
#elif defined(__F16C__)
  return _mm256_cvtph_ps(LoadAs<__m128i>(p));
#elif defined(__aarch64__)
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
#else
  // An f16's exponent field counts from 2^-15, an f32's from 2^-127: scaling by 2^112 repairs it, subnormals
  // too.
  const U32s bits = __builtin_convertvector(LoadAs<U16s>(p), U32s);
  const F32s magnitude = (F32s)((bits & 0x7FFFu) << 13) * 0x1p112f;
  const U32s special = (U32s)((bits & 0x7C00u) == 0x7C00u) & 0x7F800000u;
  return (F32s)((U32s)magnitude | special | ((bits & 0x8000u) << 16));
#endif
}

BIFRONS_INLINE float ToF32(F16 x) {
#if defined(__F16C__)
  return _cvtsh_ss(x.bits);
#else
  const uint16_t lanes[kLanes] = {x.bits};
  return LoadF16(lanes)[0];
#endif
}

/// e^x within 2 ulp where the result is a normal f32, 0 below; x at most 88; NaN stays NaN. The same formula
/// on every instruction set: e^x = 2^n · e^r with |r| ≤ ln2/2 and e^r = 1 + r + r²·q(r), q fitted for least
/// relative error (3e-9).
BIFRONS_INLINE F32s Exp(F32s x) {
  const F32s clamped = Max(Set(-87.0f), x);  // in this order x, if NaN
  const F32s shifter = Set(12582912.0f);     // 1.5·2^23: adding it rounds to an integer
  const F32s n_shifted = MulAdd(clamped, Set(1.44269504f), shifter);
  const F32s n = n_shifted - shifter;
  F32s r = MulAdd(n, Set(-0.693359375f), clamped);  // ln 2 in two parts, the first exact times n
  r = MulAdd(n, Set(2.12194440e-4f), r);
  F32s q = MulAdd(Set(0.001381459878757596f), r, Set(0.008368716575205326f));
  q = MulAdd(q, r, Set(0.04166838899254799f));
  q = MulAdd(q, r, Set(0.1666652113199234f));
  q = MulAdd(q, r, Set(0.4999999403953552f));
  const F32s e = MulAdd(q * r, r, r) + 1.0f;
  const F32s power = (F32s)(((U32s)n_shifted << 23) + (127u << 23));  // n is the mantissa's low bits
  return x < -87.0f ? F32s{} : e * power;
}

/// x / (1 + e^-x).
BIFRONS_INLINE F32s Silu(F32s x) {
  // Below −88 e^-x leaves f32; the quotient is as good as 0 there.
  return x / (1.0f + Exp(-Max(x, Set(-88.0f))));
}

/// erfc(x) for x ≥ 0, relative error below 4e-7 while erfc is normal: e^(-x²) · t·p(t), t = 1/(1 + 0.44x),
/// with p fitted to erfcx on [0, 15].
BIFRONS_INLINE F32s Erfc(F32s x) {
  const F32s t = 1.0f / MulAdd(Set(0.44f), x, Set(1.0f));
  F32s p = MulAdd(Set(0.07149778782891586f), t, Set(-0.27914540774081503f));
  p = MulAdd(p, t, Set(0.2988560004056302f));
  p = MulAdd(p, t, Set(-0.02228526971109059f));
  p = MulAdd(p, t, Set(0.21698944712820697f));
  p = MulAdd(p, t, Set(0.21693577371311487f));
  p = MulAdd(p, t, Set(0.2489352739506736f));
  p = MulAdd(p, t, Set(0.24821653946111713f));
  return Exp(-x * x) * p * t;
}

/// Softmax of scores[n], which is padded to whole vectors, but for the division: leaves the exponentials
/// there and returns their sum.
BIFRONS_INLINE float Exponentials(float* scores, int64_t n) {
  const int64_t padded = (n + kLanes - 1) / kLanes * kLanes;
  for (int64_t i = n; i < padded; i++) scores[i] = -__builtin_inff();
  F32s largest = Load(scores);
  for (int64_t i = kLanes; i < padded; i += kLanes) largest = Max(largest, Load(scores + i));
  const F32s top = Set(MaxLane(largest));
  F32s sum = {};
  for (int64_t i = 0; i < padded; i += kLanes) {
    const F32s e = Exp(Load(scores + i) - top);
    sum += e;
    Store(scores + i, e);
  }
  return SumLanes(sum);
}
