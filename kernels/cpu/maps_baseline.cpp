// Baseline x86-64 (SSE2) and arm64 (NEON).
#if defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "kernels/cpu/map_kernels.h"

namespace bifrons::cpu {
namespace {
#include "kernels/cpu/vec-inl.h"
// (order matters: each builds on the one before)
#include "kernels/cpu/maps-inl.h"
}  // namespace

constinit const MapKernels kMapKernelsBaseline = kKernels;

}  // namespace bifrons::cpu
