// A product of two matrices as far as it fits the registers. Included like vec-inl.h, after it.

// c [rows, vectors · kLanes] = a [rows, k] · b [k, …], rows lda, ldb and ldc apart.
template <int rows, int vectors>
BIFRONS_INLINE void MultiplyTile(const float* a, int64_t lda, const float* b, int64_t ldb, int64_t k,
                                 float* c, int64_t ldc) {
  F32s total[rows][vectors] = {};
  for (int64_t i = 0; i < k; i++) {
    F32s line[vectors];
    for (int v = 0; v < vectors; v++) line[v] = Load(b + i * ldb + v * kLanes);
    for (int r = 0; r < rows; r++) {
      const F32s x = Set(a[r * lda + i]);
      for (int v = 0; v < vectors; v++) total[r][v] = MulAdd(x, line[v], total[r][v]);
    }
  }
  for (int r = 0; r < rows; r++) {
    for (int v = 0; v < vectors; v++) Store(c + r * ldc + v * kLanes, total[r][v]);
  }
}
