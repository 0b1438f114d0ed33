// The feature-map kernels for AVX-512 (with or without AMX).
#define BIFRONS_VECTOR_BYTES 64
#define BIFRONS_MAP_KERNELS MapKernelsAvx512
#include "kernels/cpu/maps-inl.h"
