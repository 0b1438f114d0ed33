#include "kernels/ref/ref.h"

#include "kernels/ref/maps.h"
#include "kernels/ref/rows.h"

namespace bifrons::ref {

const Ops& RefOps() {
  static constexpr Ops ops = {
      .backend = "ref",
      .isa = "scalar",
      .pack_linear = PackLinear,
      .pack_conv = PackConv,
      .linear = LinearRows,
      .gather_rows = GatherRows,
      .rms_norm = RmsNorm,
      .layer_norm = LayerNorm,
      .silu_mul = SiluMul,
      .gelu = Gelu,
      .gelu_mlp = GeluMlp,
      .rope = Rope,
      .kv_store = KvStore,
      .attention = Attention,
      .full_attention = FullAttentionRows,
      .conv2d = Convolve,
      .group_norm = GroupNorm,
      .upsample2x = Upsample2x,
  };
  return ops;
}

}  // namespace bifrons::ref
