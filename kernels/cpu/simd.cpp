// Which instruction set's bodies are called: all dispatch of the cpu device that is not a virtual call.
#include "kernels/cpu/map_kernels.h"
#include "kernels/cpu/row_kernels.h"
#include "src/base/check.h"

namespace bifrons::cpu {
namespace {

struct Kernels {
  const RowKernels& rows;
  const MapKernels& maps;
};

Kernels KernelsOf(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kBaseline:
      return {kRowKernelsBaseline, kMapKernelsBaseline};
    case Isa::kAvx2:
      return {kRowKernelsAvx2, kMapKernelsAvx2};
    // Tiles multiply bf16 matrices (tiles.h); everything else of "amx" is "avx512".
    case Isa::kAvx512:
    case Isa::kAmx:
      return {kRowKernelsAvx512, kMapKernelsAvx512};
#else
    case Isa::kNeon:
      return {kRowKernelsNeon, kMapKernelsNeon};
    case Isa::kDotprod:
      return {kRowKernelsDotprod, kMapKernelsDotprod};
#endif
    default:
      BIFRONS_CHECK(false, "no kernels for %s here", NameOf(isa));
  }
}

}  // namespace

const RowKernels& GetRowKernels(Isa isa) { return KernelsOf(isa).rows; }

const MapKernels& GetMapKernels(Isa isa) { return KernelsOf(isa).maps; }

}  // namespace bifrons::cpu
