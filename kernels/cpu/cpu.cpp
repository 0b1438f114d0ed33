#include "kernels/cpu/cpu.h"

#include <algorithm>

#include "kernels/cpu/maps.h"
#include "kernels/cpu/row_kernels.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/tile_kernels.h"

namespace bifrons::cpu {
namespace {

// Value-initialised, so that a member that nobody sets is null; Complete looks for that.
Ops MakeOps(Isa isa) {
  Ops ops{};
  ops.backend = "cpu";
  ops.isa = NameOf(isa);
  FillRowOps(isa, ops);
  FillMapOps(isa, ops);
  return ops;
}

bool Complete(const Ops& o) {
  return o.pack_linear && o.pack_conv && o.linear && o.gather_rows && o.rms_norm && o.layer_norm &&
         o.silu_mul && o.gelu && o.gelu_mlp && o.rope && o.kv_store && o.attention && o.conv2d &&
         o.group_norm && o.upsample2x && o.full_attention;
}

template <Isa isa>
const Ops& Table() {
  static const Ops ops = MakeOps(isa);
  BIFRONS_CHECK(Complete(ops), "an op of isa %s is missing", ops.isa);
  return ops;
}

}  // namespace

const Ops& CpuOps(Isa isa) {
  const auto& supported = SupportedIsas();
  BIFRONS_CHECK(std::find(supported.begin(), supported.end(), isa) != supported.end());
  switch (isa) {
    case Isa::kBaseline:
      return Table<Isa::kBaseline>();
    case Isa::kAvx2:
      return Table<Isa::kAvx2>();
    case Isa::kAvx512:
      return Table<Isa::kAvx512>();
    case Isa::kAmx:
      return Table<Isa::kAmx>();
    case Isa::kNeon:
      break;
  }
  return Table<Isa::kNeon>();
}

int64_t PeakMacs(Isa isa, DType compute, int64_t rounds) {
#if defined(__x86_64__)
  if (isa == Isa::kAmx && compute == DType::kBF16) {
    const SetUpTiles tiles;
    return kTileKernelsAmx.peak(rounds);
  }
#endif
  const RowKernels& kernels = GetRowKernels(isa);
  return compute == DType::kBF16 && kernels.peak_bf16 ? kernels.peak_bf16(rounds) : kernels.peak_f32(rounds);
}

}  // namespace bifrons::cpu
