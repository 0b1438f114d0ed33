#include "kernels/cpu/tiles.h"

#include <algorithm>

#include "kernels/cpu/tile_kernels.h"

namespace bifrons::cpu {

bool SuitsTiles(Isa isa, const PackedRows& linear) {
  return isa == Isa::kAmx && linear.stored == DType::kBF16 && linear.compute == DType::kBF16 &&
         linear.in % kPanel == 0;
}

// Panels must fit into the rows' memory: padded to whole panels, but half as wide as f32.
bool StandsInPanels(Isa isa, DType compute, int64_t rows, int64_t width) {
  return isa == Isa::kAmx && compute == DType::kBF16 && width % kPanel == 0 && 2 * rows >= kPanel;
}

#if defined(__x86_64__)
namespace {

constexpr const TileKernels& kTiles = kTileKernelsAmx;

constexpr int64_t kBF16 = sizeof(BF16);

// Panels up to this many bytes stay in the L2 cache while all stripes pass over them; where a whole `in` of
// them is more, as many as fit with kPassDepth of it take part in a pass.
constexpr int64_t kPassBytes = 5 << 18, kPassDepth = 4096;

// `in` of one visit to a stripe by several panels: 8 KB, which stay in the L1 cache meanwhile. (256 is 2 %
// slower where this was measured, 512 15 %.)
constexpr int64_t kVisitDepth = 128;

// How far ahead of use weights are fetched into the L2 cache, by a panel alone and by several. (On a Xeon of
// 2 MB L2 per core a panel alone reads 17 GB/s per thread with anything from 2.5 to 4 KB, 14 with 8 KB, less
// with more.)
constexpr int64_t kAheadAlone = 3584, kAheadTogether = 6144;

// Products that are finished together, where few panels share a pass: their outputs are neighbours in few
// rows, far apart. (One by one they cost a step of 32 rows 8 %.)
constexpr int64_t kFinishedTogether = 16;

int64_t Blocks(int64_t n, int64_t size) { return (n + size - 1) / size; }

int64_t RowsOf(int64_t panel, int64_t rows) { return std::min(kPanel, rows - panel * kPanel); }

// A task packs some columns of a panel, so that a decode step's few rows, too, are dealt to all threads.
void PackPanels(Workspace& work, const float* x, int64_t rows, int64_t in, BF16* panels) {
  constexpr int64_t kColumns = 512, kSmall = 16384;  // rounding few values costs less than waking the pool
  const int64_t parts = Blocks(in, kColumns), tasks = Blocks(rows, kPanel) * parts;
  const auto pack = [&](int64_t begin, int64_t end, int) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t panel = task / parts, k = task % parts * kColumns;
      kTiles.pack_panel(x + panel * kPanel * in + k, RowsOf(panel, rows), in, std::min(kColumns, in - k),
                        panels + (panel * in + k) * kPanel);
    }
  };
  if (rows * in <= kSmall) {
    pack(0, tasks, 0);
  } else {
    work.pool.ParallelFor(tasks, pack);
  }
}

// How the products of panels and stripes are ordered; none of it shows in their bits.
struct Plan {
  Plan(int64_t rows, int64_t in) : panels(Blocks(rows, kPanel)) {
    const int64_t column = kPanel * kBF16;  // bytes of a panel per `in`
    depth = panels * column * in <= kPassBytes ? in : std::min(in, kPassDepth);
    const int64_t most = std::clamp(kPassBytes / (column * depth), int64_t{1}, panels);
    together = Blocks(panels, Blocks(panels, most));  // 18 panels of at most 10 are 9 + 9
    visit = together == 1 ? depth : kVisitDepth;
    share = Blocks(kPanelStep * kBF16 / 64, together) * 64;
    ahead = together == 1 ? kAheadAlone : kAheadTogether;
  }
  int64_t panels;
  int64_t depth;     // `in` of a pass over all stripes
  int64_t together;  // panels of a pass
  int64_t visit;     // `in` of a visit to a stripe
  int64_t share;  // bytes that a panel's product fetches per step: the panels of a visit fetch the next one's
  int64_t ahead;  // how far ahead
};

// finish(panel, stripe, c) for every product c of a panel and a stripe.
template <class Finish>
void ForEachProduct(Workspace& work, const PackedRows& linear, const BF16* panels, int64_t rows,
                    const Finish& finish) {
  const int64_t in = linear.in;
  const Plan plan(rows, in);
  work.pool.ParallelFor(linear.stripes(), [&](int64_t begin, int64_t end, int part) {
    const SetUpTiles tiles;
    const int64_t group =
        plan.depth < in ? end - begin : std::max(int64_t{1}, kFinishedTogether / plan.together);
    float* products = work.scratch.Get<float>(Scratch::kProducts, group * plan.together * kTileProduct, part);
    for (int64_t first = 0; first < plan.panels; first += plan.together) {
      const int64_t last = std::min(first + plan.together, plan.panels);
      for (int64_t group_begin = begin; group_begin < end; group_begin += group) {
        const int64_t group_end = std::min(group_begin + group, end);
        const auto product = [&](int64_t b, int64_t s) {
          return products + ((s - group_begin) * plan.together + b - first) * kTileProduct;
        };
        for (int64_t pass = 0; pass < in; pass += plan.depth) {
          const int64_t pass_end = std::min(pass + plan.depth, in);
          for (int64_t s = group_begin; s < group_end; s++) {
            const auto* stripe = reinterpret_cast<const BF16*>(linear.stripe(s));
            for (int64_t k = pass; k < pass_end; k += plan.visit) {
              const int64_t steps = (std::min(k + plan.visit, pass_end) - k) / kPanel;
              // Behind a pass's part of a stripe comes its part of the next one.
              const bool leaves = k + plan.ahead / (kStripe * kBF16) >= pass_end;
              const auto* next = reinterpret_cast<const char*>(
                                     stripe + (k + (leaves ? in - (pass_end - pass) : 0)) * kStripe) +
                                 plan.ahead;
              for (int64_t b = first; b < last; b++) {
                kTiles.multiply(panels + (b * in + k) * kPanel, RowsOf(b, rows), stripe + k * kStripe, steps,
                                k > 0, product(b, s), next + (b - first) * steps * plan.share, plan.share);
              }
            }
          }
        }
        for (int64_t b = first; b < last; b++) {
          for (int64_t s = group_begin; s < group_end; s++) finish(b, s, product(b, s));
        }
      }
    }
  });
}

// Products of panels to rows of f32.
void FinishRows(Workspace& work, const PackedRows& linear, const BF16* panels, int64_t rows,
                const Target& target) {
  ForEachProduct(work, linear, panels, rows, [&](int64_t b, int64_t s, const float* c) {
    const int64_t column = s * kStripe;
    kTiles.finish(c, {.rows = RowsOf(b, rows),
                      .columns = std::min<int64_t>(kStripe, linear.out - column),
                      .bias = linear.bias.empty() ? nullptr : linear.bias.data() + column,
                      .y = target.y + b * kPanel * target.y_stride + column,
                      .y_stride = target.y_stride,
                      .accumulate = target.accumulate});
  });
}

// The rows [rows, in] that stand in panels.
void UnpackPanels(const BF16* panels, int64_t rows, int64_t in, float* x) {
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t k = 0; k < in; k++) {
      x[r * in + k] = ToFloat(
          panels[(r / kPanel * in + k / kPanel * kPanel) * kPanel + r % kPanel * kPanel + k % kPanel]);
    }
  }
}

}  // namespace

void MultiplyOnTiles(Workspace& work, const PackedRows& linear, const float* x, int64_t rows,
                     const Target& target) {
  BF16* panels = work.scratch.Get<BF16>(Scratch::kActivations, Blocks(rows, kPanel) * kPanel * linear.in);
  PackPanels(work, x, rows, linear.in, panels);
  FinishRows(work, linear, panels, rows, target);
}

void MultiplyPanels(Workspace& work, const PackedLinear& linear, const float* x, bool x_panels, int64_t rows,
                    RowClass row_class, Epilogue epilogue, float* y, bool y_panels) {
  const bool all_suit = std::all_of(linear.parts.begin(), linear.parts.end(),
                                    [&](const PackedRows& part) { return SuitsTiles(work.isa, part); });
  const int64_t in = linear.in, out = linear.out;
  const auto* panels = reinterpret_cast<const BF16*>(x);
  if (all_suit && y_panels && epilogue == Epilogue::kGelu) {  // the inner rows are never written out in f32
    if (!x_panels) {
      BF16* packed = work.scratch.Get<BF16>(Scratch::kActivations, Blocks(rows, kPanel) * kPanel * in);
      PackPanels(work, x, rows, in, packed);
      panels = packed;
    }
    auto* inner = reinterpret_cast<BF16*>(y);
    for (const PackedRows& part : linear.parts) {
      ForEachProduct(work, part, panels, rows, [&](int64_t b, int64_t s, const float* c) {
        kTiles.finish_gelu(c, part.bias.empty() ? nullptr : part.bias.data() + s * kStripe,
                           inner + (b * out + part.first + s * kPanel) * kPanel);
      });
    }
    return;
  }
  if (all_suit && x_panels && !y_panels && (epilogue == Epilogue::kNone || epilogue == Epilogue::kAdd)) {
    for (const PackedRows& part : linear.parts) {
      FinishRows(work, part, panels, rows, {y + part.first, out, epilogue == Epilogue::kAdd});
    }
    return;
  }
  // What no published model has: by way of rows.
  if (x_panels) {
    float* unpacked = work.scratch.Get<float>(Scratch::kOperands, rows * in);
    UnpackPanels(panels, rows, in, unpacked);
    x = unpacked;
  }
  if (!y_panels) return Multiply(work, linear, x, false, rows, row_class, epilogue, y, false);
  const int64_t width = epilogue == Epilogue::kSiluMul ? out / 2 : out;
  float* written = work.scratch.Get<float>(Scratch::kMixed, rows * width);
  Multiply(work, linear, x, false, rows, row_class, epilogue, written, false);
  PackPanels(work, written, rows, width, reinterpret_cast<BF16*>(y));
}
#else
void MultiplyOnTiles(Workspace&, const PackedRows&, const float*, int64_t, const Target&) {
  BIFRONS_CHECK(false, "no tiles on this processor");
}
void MultiplyPanels(Workspace&, const PackedLinear&, const float*, bool, int64_t, RowClass, Epilogue, float*,
                    bool) {
  BIFRONS_CHECK(false, "no tiles on this processor");
}
#endif

}  // namespace bifrons::cpu
