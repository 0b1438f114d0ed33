// The feature-map kernels for baseline x86-64 (SSE2) and arm64 (NEON): 16-byte vectors.
#define BIFRONS_VECTOR_BYTES 16
#define BIFRONS_MAP_KERNELS MapKernelsBaseline
#include "kernels/cpu/maps-inl.h"
