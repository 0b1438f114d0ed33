#include "kernels/cpu/prefill.h"

#include <algorithm>
#include <map>
#include <mutex>

#include "kernels/cpu/onednn.h"

namespace bifrons::cpu {
namespace {

using dnnl::memory;

// Output columns of one single-threaded oneDNN call. Fixed, so that the shapes oneDNN sees, and with them its
// order of summation, do not depend on the thread count; wide enough for its blocking, few enough to be
// dealt.
constexpr int64_t kColumnsPerCall = 4 * kStripe;

// Fewer rows are the decode product's: oneDNN gains nothing on them.
constexpr int64_t kMinRows = 16;

struct Shape {
  int64_t rows, in, columns;
  auto operator<=>(const Shape&) const = default;
};

memory::desc Activations(const Shape& s) {
  return {{s.rows, s.in}, memory::data_type::bf16, memory::format_tag::ab};
}
memory::desc PackedWeights(const Shape& s) {
  return {{s.in, s.columns}, memory::data_type::bf16, memory::format_tag::BA16a32b2a};
}
// Contiguous: with y's row length as stride oneDNN 2.6.3 has nothing but its reference loop for packed
// weights.
memory::desc Outputs(const Shape& s) {
  return {{s.rows, s.columns}, memory::data_type::f32, memory::format_tag::ab};
}

struct Primitive {
  dnnl::matmul matmul;
  memory::desc scratchpad;
};

Primitive MakePrimitive(const Shape& s) {
  CheckRoomForCode();
  const SingleThreaded single;  // oneDNN plans for the threads it sees when it makes a primitive
  dnnl::primitive_attr attr;
  // The scratchpad is ours, so that several threads may run one primitive at once.
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const dnnl::matmul::desc desc(Activations(s), PackedWeights(s), Outputs(s));
  const dnnl::matmul::primitive_desc plan(desc, attr, OneDnnEngine());
  return {dnnl::matmul(plan), plan.scratchpad_desc()};
}

Primitive CachedPrimitive(const Shape& shape) {
  // A model has about ten shapes; prompts of many lengths would collect without end.
  constexpr size_t kMaxCached = 128;
  static std::mutex mutex;
  static std::map<Shape, Primitive> cache;
  const std::lock_guard lock(mutex);
  auto found = cache.find(shape);
  if (found == cache.end()) {
    if (cache.size() >= kMaxCached) cache.clear();
    found = cache.emplace(shape, WithOneDnn([&] { return MakePrimitive(shape); })).first;
  }
  return found->second;
}

// y[n] = products + bias, or y += ….
void AddBias(const float* products, const float* bias, int64_t n, bool accumulate, float* y) {
  for (int64_t i = 0; i < n; i++) {
    const float value = bias ? products[i] + bias[i] : products[i];
    y[i] = accumulate ? y[i] + value : value;
  }
}

// products [rows, columns] = x · weights.
void Execute(const Primitive& primitive, const Shape& shape, const uint8_t* weights, const BF16* x,
             uint8_t* scratchpad, float* products) {
  const dnnl::engine& engine = OneDnnEngine();
  primitive.matmul.execute(
      OneDnnStream(),
      {{DNNL_ARG_SRC, memory(Activations(shape), engine, const_cast<BF16*>(x))},
       {DNNL_ARG_WEIGHTS, memory(PackedWeights(shape), engine, const_cast<uint8_t*>(weights))},
       {DNNL_ARG_DST, memory(Outputs(shape), engine, products)},
       {DNNL_ARG_SCRATCHPAD, memory(primitive.scratchpad, engine, scratchpad)}});
}

}  // namespace

// Only where oneDNN has what the own product lacks: on AVX-512 its blocking of bf16 matrices. (For AMX see
// tiles.h: oneDNN 2.6.3 takes 1.3 times as long on such stripes, and lets nobody finish them in the cache.)
// It has no mixed types and, below AVX-512, no bf16; f32 FMA is the own product's peak as well. oneDNN 2.6.3
// reads packed weights wrongly when their depth is an odd number of 16-row blocks.
bool PrefillsWithOneDnn(Isa isa, const PackedRows& linear, int64_t rows) {
  return isa == Isa::kAvx512 && linear.stored == DType::kBF16 && linear.compute == DType::kBF16 &&
         linear.in % 32 == 0 && rows >= kMinRows;
}

void PrefillRows(Workspace& work, const PackedRows& linear, const float* x, int64_t rows,
                 const Target& target) {
  const int64_t in = linear.in, out = linear.out;
  BF16* rounded = work.scratch.Get<BF16>(Scratch::kActivations, rows * in);
  work.pool.ParallelFor(rows, [&](int64_t begin, int64_t end, int) {
    work.rows.to_bf16(x + begin * in, (end - begin) * in, rounded + begin * in);
  });
  const Shape full = {rows, in, kColumnsPerCall}, last = {rows, in, out % kColumnsPerCall};
  const int64_t calls = (out + kColumnsPerCall - 1) / kColumnsPerCall;
  const Primitive full_primitive = out >= kColumnsPerCall ? CachedPrimitive(full) : Primitive{};
  const Primitive last_primitive = last.columns != 0 ? CachedPrimitive(last) : Primitive{};
  work.pool.ParallelFor(calls, [&](int64_t begin, int64_t end, int part) {
    const SingleThreaded single;
    CheckRoomForObjects();
    float* products = work.scratch.Get<float>(Scratch::kProducts, rows * kColumnsPerCall, part);
    for (int64_t call = begin; call < end; call++) {
      const int64_t first = call * kColumnsPerCall, columns = std::min(kColumnsPerCall, out - first);
      const bool whole = columns == kColumnsPerCall;
      const Primitive& primitive = whole ? full_primitive : last_primitive;
      auto* scratchpad = work.scratch.Get<uint8_t>(
          Scratch::kLibrary, static_cast<int64_t>(primitive.scratchpad.get_size()), part);
      WithOneDnn([&] {
        Execute(primitive, whole ? full : last, linear.stripe(first / kStripe), rounded, scratchpad,
                products);
      });
      const float* bias = linear.bias.empty() ? nullptr : linear.bias.data() + first;
      for (int64_t r = 0; r < rows; r++) {
        AddBias(products + r * columns, bias, columns, target.accumulate,
                target.y + r * target.y_stride + first);
      }
    }
  });
}

}  // namespace bifrons::cpu
