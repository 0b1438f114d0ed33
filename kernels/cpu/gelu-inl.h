// GELU, the exact erf form. Included like vec-inl.h, after it.

// x/2·erfc(−x/√2): for negative x the small value itself, without the cancellation of 1 + erf.
BIFRONS_INLINE F32s GeluOf(F32s x) {
  const F32s magnitude = (F32s)((U32s)x & 0x7FFFFFFFu);
  const F32s tail = Erfc(magnitude * 0.70710678118654752f);
  return 0.5f * x * (x > 0.0f ? 2.0f - tail : tail);
}
