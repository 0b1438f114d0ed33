// The feature-map kernels for AVX2 + FMA.
#define BIFRONS_VECTOR_BYTES 32
#define BIFRONS_MAP_KERNELS MapKernelsAvx2
#include "kernels/cpu/maps-inl.h"
