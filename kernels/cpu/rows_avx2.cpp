#include <immintrin.h>

#include "kernels/cpu/row_kernels.h"

namespace bifrons::cpu {
namespace {
#include "kernels/cpu/vec-inl.h"
// (order matters: each builds on the one before)
#include "kernels/cpu/product-inl.h"
// and the table of kernels is last
#include "kernels/cpu/gelu-inl.h"
#include "kernels/cpu/rows-inl.h"
}  // namespace

constinit const RowKernels kRowKernelsAvx2 = kKernels;

}  // namespace bifrons::cpu
