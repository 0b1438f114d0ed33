#include <immintrin.h>

#include "kernels/cpu/map_kernels.h"

namespace bifrons::cpu {
namespace {
#include "kernels/cpu/vec-inl.h"
// (order matters: each builds on the one before)
#include "kernels/cpu/maps-inl.h"
}  // namespace

constinit const MapKernels kMapKernelsAvx2 = kKernels;

}  // namespace bifrons::cpu
