#include "kernels/cpu/tiles.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/tile_kernels.h"

namespace bifrons::cpu {
namespace {

// Fewer rows are the decode product's: it waits for memory as the tiles would.
constexpr int64_t kMinRows = 16;

// `in` of one pass over a block of panels, and the bytes of such a block: it stays in the L2 cache while all
// stripes pass over it. Longer sums rest in y between passes.
constexpr int64_t kPassDepth = 4096, kPassBytes = 5 << 18;

// `in` of one pass over a stripe: 8 KB, which stay in the L1 cache while the panels pass over it. (256 is 2 % slower
// where this was measured, 512 15 %.)
constexpr int64_t kStripeDepth = 128;

int64_t Blocks(int64_t n, int64_t size) { return (n + size - 1) / size; }

}  // namespace

bool SuitsTiles(Isa isa, const PackedLinear& linear, int64_t rows) {
#if defined(__x86_64__)
  return isa == Isa::kAmx && linear.stored == DType::kBF16 && linear.compute == DType::kBF16 &&
         linear.in % kPanel == 0 && rows >= kMinRows;
#else
  return false;
#endif
}

bool MlpSuitsTiles(Isa isa, const PackedLinear& fc1, const PackedLinear& fc2, int64_t rows) {
  return SuitsTiles(isa, fc1, rows) && SuitsTiles(isa, fc2, rows) && fc1.in <= kPassDepth;
}

#if defined(__x86_64__)
namespace {

constexpr const TileKernels& kTiles = kTileKernelsAmx;

void PackPanels(ThreadPool& pool, const float* x, int64_t rows, int64_t in, BF16* panels) {
  pool.ParallelFor(Blocks(rows, kPanel), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin * kPanel; row < std::min(end * kPanel, rows); row += kPanel) {
      kTiles.pack_panel(x + row * in, std::min(kPanel, rows - row), in, in, panels + row * in);
    }
  });
}

// finish(block, stripe, c, whether this is the first pass) for every product of a panel and a stripe.
template <class Finish>
void MultiplyPanels(ThreadPool& pool, const PackedLinear& linear, const BF16* panels, int64_t blocks,
                    const Finish& finish) {
  const int64_t in = linear.in, depth = std::min(in, kPassDepth);
  const int64_t most = std::clamp(kPassBytes / (kPanel * depth * int64_t{sizeof(BF16)}), int64_t{1}, blocks);
  const int64_t together = Blocks(blocks, Blocks(blocks, most));  // 18 panels of at most 10 are 9 + 9
  // Each product fetches its share of what the next visit to a stripe will read.
  const int64_t ahead = Blocks(kPanelStep * int64_t{sizeof(BF16)} / 64, together) * 64;
  pool.ParallelFor(linear.stripes(), [&](int64_t begin, int64_t end, int) {
    const SetUpTiles tiles;
    thread_local Tensor products;
    if (products.empty() || products.shape()[0] < together)
      products = Tensor(DType::kF32, {together, kTileProduct});
    auto* c = products.as<float>();
    for (int64_t first = 0; first < blocks; first += together) {
      const int64_t last = std::min(first + together, blocks);
      for (int64_t pass = 0; pass < in; pass += depth) {
        const int64_t pass_end = std::min(pass + depth, in);
        for (int64_t s = begin; s < end; s++) {
          const auto* stripe = reinterpret_cast<const BF16*>(linear.stripe(s));
          for (int64_t k = pass; k < pass_end; k += kStripeDepth) {
            const int64_t steps = (std::min(k + kStripeDepth, pass_end) - k) / kPanel;
            const bool more = k + kStripeDepth < pass_end;
            const auto* next = reinterpret_cast<const char*>(more ? stripe + (k + kStripeDepth) * kStripe
                                                                  : stripe + (in + pass) * kStripe);
            for (int64_t b = first; b < last; b++) {
              kTiles.multiply(panels + (b * in + k) * kPanel, stripe + k * kStripe, steps, k > pass,
                              c + (b - first) * kTileProduct, next + (b - first) * steps * ahead, ahead);
            }
          }
          for (int64_t b = first; b < last; b++) finish(b, s, c + (b - first) * kTileProduct, pass == 0);
        }
      }
    }
  });
}

// Products of panels to rows of f32.
void FinishRows(ThreadPool& pool, const PackedLinear& linear, const BF16* panels, int64_t rows,
                bool accumulate, float* y) {
  const int64_t out = linear.out;
  MultiplyPanels(
      pool, linear, panels, Blocks(rows, kPanel), [&](int64_t b, int64_t s, const float* c, bool first) {
        const int64_t row = b * kPanel, column = s * kStripe;
        kTiles.finish(c, {.rows = std::min(kPanel, rows - row),
                          .columns = std::min<int64_t>(kStripe, out - column),
                          .bias = first && !linear.bias.empty() ? linear.bias.data() + column : nullptr,
                          .y = y + row * out + column,
                          .y_stride = out,
                          .accumulate = accumulate || !first});
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
  // The inner rows as panels: padded to whole panels, but half as wide as f32, they fit.
  static_assert(2 * kMinRows >= kPanel);
  auto* inner = reinterpret_cast<BF16*>(scratch);
  const BF16* panels = PanelsOf(pool, x, rows, fc1.in);
  const auto step = [&](int64_t b, int64_t s) { return inner + (b * fc1.out + s * kPanel) * kPanel; };
  MultiplyPanels(pool, fc1, panels, Blocks(rows, kPanel), [&](int64_t b, int64_t s, const float* c, bool) {
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
