#include "kernels/cpu/tiles.h"

#include <algorithm>

#include "kernels/cpu/tile_kernels.h"

namespace bifrons::cpu {

#if defined(__x86_64__)
bool SuitsTiles(Isa isa, const PackedLinear& linear) {
  return isa == Isa::kAmx && linear.stored == DType::kBF16 && linear.compute == DType::kBF16 &&
         linear.in % kPanel == 0;
}
#else
bool SuitsTiles(Isa, const PackedLinear&) { return false; }
#endif

// The inner rows as panels must fit into the scratch: padded to half or whole panels, but half as wide as
// f32.
bool MlpSuitsTiles(Isa isa, const PackedLinear& fc1, const PackedLinear& fc2, int64_t rows) {
  return SuitsTiles(isa, fc1) && SuitsTiles(isa, fc2) && 2 * rows >= kPanel;
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
void PackPanels(ThreadPool& pool, const float* x, int64_t rows, int64_t in, BF16* panels) {
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
    pool.ParallelFor(tasks, pack);
  }
}

float* ProductsOf(int64_t count) {
  thread_local Tensor products;
  if (products.empty() || products.shape()[0] < count) products = Tensor(DType::kF32, {count, kTileProduct});
  return products.as<float>();
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
void MultiplyPanels(ThreadPool& pool, const PackedLinear& linear, const BF16* panels, int64_t rows,
                    const Finish& finish) {
  const int64_t in = linear.in;
  const Plan plan(rows, in);
  pool.ParallelFor(linear.stripes(), [&](int64_t begin, int64_t end, int) {
    const SetUpTiles tiles;
    const int64_t group =
        plan.depth < in ? end - begin : std::max(int64_t{1}, kFinishedTogether / plan.together);
    float* products = ProductsOf(group * plan.together);
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
void FinishRows(ThreadPool& pool, const PackedLinear& linear, const BF16* panels, int64_t rows,
                bool accumulate, float* y) {
  const int64_t out = linear.out;
  MultiplyPanels(pool, linear, panels, rows, [&](int64_t b, int64_t s, const float* c) {
    const int64_t column = s * kStripe;
    kTiles.finish(c, {.rows = RowsOf(b, rows),
                      .columns = std::min<int64_t>(kStripe, out - column),
                      .bias = linear.bias.empty() ? nullptr : linear.bias.data() + column,
                      .y = y + b * kPanel * out + column,
                      .y_stride = out,
                      .accumulate = accumulate});
  });
}

BF16* PanelsOf(ThreadPool& pool, const float* x, int64_t rows, int64_t in) {
  thread_local Tensor memory;
  const int64_t size = Blocks(rows, kPanel) * kPanel * in;
  if (memory.empty() || memory.shape()[0] < size) memory = Tensor(DType::kBF16, {size});
  PackPanels(pool, x, rows, in, memory.as<BF16>());
  return memory.as<BF16>();
}

}  // namespace

void MultiplyOnTiles(ThreadPool& pool, const PackedLinear& linear, const float* x, int64_t rows,
                     bool accumulate, float* y) {
  FinishRows(pool, linear, PanelsOf(pool, x, rows, linear.in), rows, accumulate, y);
}

void GeluMlpOnTiles(ThreadPool& pool, const PackedLinear& fc1, const PackedLinear& fc2, const float* x,
                    int64_t rows, float* scratch, float* y) {
  auto* inner = reinterpret_cast<BF16*>(scratch);
  const BF16* panels = PanelsOf(pool, x, rows, fc1.in);
  const auto step = [&](int64_t b, int64_t s) { return inner + (b * fc1.out + s * kPanel) * kPanel; };
  MultiplyPanels(pool, fc1, panels, rows, [&](int64_t b, int64_t s, const float* c) {
    kTiles.finish_gelu(c, fc1.bias.empty() ? nullptr : fc1.bias.data() + s * kStripe, step(b, s));
  });
  FinishRows(pool, fc2, inner, rows, true, y);
}
#else
void MultiplyOnTiles(ThreadPool&, const PackedLinear&, const float*, int64_t, bool, float*) {
  BIFRONS_CHECK(false, "no tiles on this processor");
}
void GeluMlpOnTiles(ThreadPool&, const PackedLinear&, const PackedLinear&, const float*, int64_t, float*,
                    float*) {
  BIFRONS_CHECK(false, "no tiles on this processor");
}
#endif

}  // namespace bifrons::cpu
