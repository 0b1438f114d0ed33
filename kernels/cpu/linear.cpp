#include "kernels/cpu/linear.h"

#include <algorithm>
#include <array>

namespace bifrons::cpu {
namespace {

// The 32 rows of a stripe, wherever the parts hold them; null beyond the last.
template <class T>
using StripeRows = std::array<const T*, kStripe>;

template <class T>
StripeRows<T> RowsOfStripe(std::span<const TensorView> parts, int64_t stripe) {
  StripeRows<T> rows{};
  int64_t first = 0;  // of the part
  for (const TensorView& part : parts) {
    for (int64_t c = 0; c < kStripe; c++) {
      const int64_t row = stripe * kStripe + c - first;
      if (row >= 0 && row < part.shape[0]) rows[c] = part.as<T>() + row * part.shape[1];
    }
    first += part.shape[0];
  }
  return rows;
}

template <class T>
void PackStripe(const StripeRows<T>& rows, int64_t in, T* to) {
  constexpr int64_t kTogether = std::is_same_v<T, BF16> ? 2 : 1;
  for (int64_t k = 0; k < in; k++) {
    T* line = to + k / kTogether * kTogether * kStripe + k % kTogether;
    for (int64_t c = 0; c < kStripe; c++) {
      if (rows[c] != nullptr) line[c * kTogether] = rows[c][k];
    }
  }
}

template <class T>
void PackStripes(ThreadPool& pool, std::span<const TensorView> parts, PackedLinear& linear) {
  pool.ParallelFor(linear.stripes(), [&](int64_t begin, int64_t end, int) {
    for (int64_t s = begin; s < end; s++) {
      PackStripe(RowsOfStripe<T>(parts, s), linear.in,
                 reinterpret_cast<T*>(linear.weights.data() + s * linear.stripe_bytes));
    }
  });
}

std::vector<float> WidenedBias(TensorView bias) {
  std::vector<float> values(bias.shape.elements());
  for (size_t i = 0; i < values.size(); i++) {
    values[i] = bias.dtype == DType::kF32    ? bias.as<float>()[i]
                : bias.dtype == DType::kBF16 ? ToFloat(bias.as<BF16>()[i])
                                             : ToFloat(bias.as<F16>()[i]);
  }
  return values;
}

ProductKind KindOf(Isa isa, const Linear& linear) {
  if (linear.stored == DType::kF32) return ProductKind::kF32;
  if (linear.stored == DType::kF16) return ProductKind::kF16;
  return linear.compute == DType::kBF16 && MultipliesBF16(isa) ? ProductKind::kBF16Dot : ProductKind::kBF16;
}

// Activations of one chunk as the product wants them. Reused from call to call, one per calling thread.
float* PackedActivations(int64_t floats) {
  thread_local std::vector<float> scratch;
  if (static_cast<int64_t>(scratch.size()) < floats) scratch.resize(floats);
  return scratch.data();
}

}  // namespace

std::unique_ptr<Linear> PackLinear(ThreadPool& pool, std::span<const TensorView> parts, TensorView bias,
                                   DType compute) {
  BIFRONS_CHECK(!parts.empty() && (compute == DType::kF32 || compute == DType::kBF16));
  auto linear = std::make_unique<PackedLinear>();
  linear->in = parts[0].shape[1];
  linear->stored = parts[0].dtype;
  linear->compute = compute;
  for (const TensorView& part : parts) {
    BIFRONS_CHECK(part.shape.rank() == 2 && part.shape[1] == linear->in && part.dtype == linear->stored);
    linear->out += part.shape[0];
  }
  const int64_t padded_in = linear->stored == DType::kBF16 ? (linear->in + 1) / 2 * 2 : linear->in;
  // Whole cache lines, so that every stripe starts on one.
  linear->stripe_bytes = padded_in * kStripe * SizeOf(linear->stored);
  linear->weights = WeightMemory(linear->stripes() * linear->stripe_bytes);
  switch (linear->stored) {
    case DType::kF32:
      PackStripes<float>(pool, parts, *linear);
      break;
    case DType::kBF16:
      PackStripes<BF16>(pool, parts, *linear);
      break;
    case DType::kF16:
      PackStripes<F16>(pool, parts, *linear);
      break;
    case DType::kI32:
      BIFRONS_CHECK(false, "integers are not weights");
  }
  if (!bias.empty()) {
    BIFRONS_CHECK(bias.shape.elements() == linear->out);
    linear->bias = WidenedBias(bias);
  }
  linear->bytes = linear->stripes() * linear->stripe_bytes + linear->bias.size() * sizeof(float);
  return linear;
}

void MultiplyRows(Isa isa, ThreadPool& pool, const PackedLinear& linear, const float* x, int64_t rows,
                  bool accumulate, float* y) {
  const RowKernels& kernels = GetRowKernels(isa);
  const ProductKind kind = KindOf(isa, linear);
  const int64_t in = linear.in;
  for (int64_t first = 0; first < rows; first += kMaxProductRows) {
    const int64_t chunk = std::min<int64_t>(rows - first, kMaxProductRows);
    float* packed = PackedActivations(chunk * ((in + 1) / 2 * 2));
    // Rearranging few values costs less than waking the pool.
    constexpr int64_t kColumnsPerTask = 256, kSmall = 16384;
    const int64_t per_task = chunk * in <= kSmall ? in + in % 2 : kColumnsPerTask;
    const bool round = linear.compute == DType::kBF16;
    pool.ParallelFor((in + per_task - 1) / per_task, [&](int64_t begin, int64_t end, int) {
      kernels.pack_rows(kind, round, x + first * in, chunk, in, begin * per_task,
                        std::min(in, end * per_task), packed);
    });
    pool.ParallelFor(linear.stripes(), [&](int64_t begin, int64_t end, int) {
      for (int64_t s = begin; s < end; s++) {
        const int64_t column = s * kStripe;
        kernels.product(kind, {.weights = linear.stripe(s),
                               .in = in,
                               .x = packed,
                               .rows = chunk,
                               .bias = linear.bias.empty() ? nullptr : linear.bias.data() + column,
                               .y = y + first * linear.out + column,
                               .y_stride = linear.out,
                               .columns = static_cast<int>(std::min<int64_t>(kStripe, linear.out - column)),
                               .accumulate = accumulate});
      }
    });
  }
}

}  // namespace bifrons::cpu
