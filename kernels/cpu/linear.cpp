#include "kernels/cpu/linear.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/prefill.h"
#include "kernels/cpu/quantized.h"
#include "kernels/cpu/stripe_rows.h"
#include "kernels/cpu/tiles.h"

namespace bifrons::cpu {
namespace {

typedef uint32_t FourWords __attribute__((vector_size(16)));

template <class T>
FourWords LoadWords(const T* numbers) {
  FourWords words;
  std::memcpy(&words, numbers, sizeof words);
  return words;
}

// Four bytes, one number of f32 or two of bf16, stay together: four of four rows [4][4] become [4][kStripe].
// Number by number, packing took most of a start.
template <class T>
void PackFourRows(const T* const* rows, int64_t first, T* to) {
  const FourWords a = LoadWords(rows[0] + first), b = LoadWords(rows[1] + first),
                  c = LoadWords(rows[2] + first), d = LoadWords(rows[3] + first);
  const FourWords ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5),
                  ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7),
                  cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5),
                  cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  const FourWords of_all[] = {__builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5),
                              __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
                              __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5),
                              __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
  constexpr int64_t kTogether = 4 / sizeof(T);
  for (int64_t i = 0; i < 4; i++) std::memcpy(to + i * kStripe * kTogether, &of_all[i], sizeof(FourWords));
}

// A line of every row after the other: of rows a power of two apart no cache keeps 32 lines at once.
template <class T>
void PackStripe(const StripeRows<T>& rows, int64_t in, T* to) {
  constexpr int64_t kTogether = std::is_same_v<T, BF16> ? 2 : 1;
  constexpr int64_t kColumns = 64 / sizeof(T);
  const auto pack = [&](int64_t c, int64_t begin, int64_t end) {
    if (rows[c] == nullptr) return;
    for (int64_t k = begin; k < end; k++)
      to[k / kTogether * kTogether * kStripe + c * kTogether + k % kTogether] = rows[c][k];
  };
  for (int64_t first = 0; first < in; first += kColumns) {
    const int64_t end = std::min(in, first + kColumns);
    for (int64_t c = 0; c < kStripe; c += 4) {
      int64_t k = first;
      if constexpr (kTogether * sizeof(T) == 4) {
        const bool all = rows[c + 3] != nullptr;
        for (; all && k + 4 * kTogether <= end; k += 4 * kTogether)
          PackFourRows(&rows[c], k, to + k * kStripe + c * kTogether);
      }
      for (int64_t row = c; row < c + 4; row++) pack(row, k, end);
    }
  }
}

template <class T>
void PackStripes(ThreadPool& pool, std::span<const TensorView> parts, PackedRows& linear) {
  pool.ParallelFor(linear.stripes(), [&](int64_t begin, int64_t end, int) {
    for (int64_t s = begin; s < end; s++) {
      PackStripe(RowsOfStripe<T>(parts, s), linear.in,
                 reinterpret_cast<T*>(linear.weights.data() + s * linear.stripe_bytes));
    }
  });
}

ProductKind KindOf(Isa isa, const PackedRows& rows) {
  switch (rows.stored) {
    case DType::kF32:
      return ProductKind::kF32;
    case DType::kF16:
      return ProductKind::kF16;
    case DType::kQ8_0:
      return ProductKind::kQ8_0;
    case DType::kQ4_0:
      return ProductKind::kQ4_0;
    case DType::kQ4_K:
      return ProductKind::kQ4_K;
    default:
      return rows.compute == DType::kBF16 && MultipliesBF16(isa) ? ProductKind::kBF16Dot : ProductKind::kBF16;
  }
}

// Whole cache lines, so that every stripe starts on one.
size_t StripeBytes(DType type, int64_t in) {
  if (IsQuantized(type)) return QuantizedStripeBytes(type, in);
  return BytesOf(type, (type == DType::kBF16 ? (in + 1) / 2 * 2 : in) * kStripe);
}

// Neighbouring parts of one type.
PackedRows PackSameType(ThreadPool& pool, std::span<const TensorView> parts, DType compute) {
  PackedRows rows;
  rows.in = parts[0].shape[1];
  rows.stored = parts[0].dtype;
  rows.compute = compute;
  for (const TensorView& part : parts) rows.out += part.shape[0];
  rows.stripe_bytes = StripeBytes(rows.stored, rows.in);
  rows.weights = WeightMemory(static_cast<size_t>(rows.stripes()) * rows.stripe_bytes);
  switch (rows.stored) {
    case DType::kF32:
      PackStripes<float>(pool, parts, rows);
      break;
    case DType::kBF16:
      PackStripes<BF16>(pool, parts, rows);
      break;
    case DType::kF16:
      PackStripes<F16>(pool, parts, rows);
      break;
    case DType::kQ8_0:
    case DType::kQ4_0:
    case DType::kQ4_K:
      PackQuantized(pool, parts, rows);
      break;
    case DType::kI32:
    case DType::kU8:
      BIFRONS_CHECK(false, "integers are not weights");
  }
  return rows;
}

void Gelu(Workspace& work, float* x, int64_t n) {
  constexpr int64_t kPart = 1024;
  work.Deal((n + kPart - 1) / kPart, 4 * std::min(kPart, n), [&](int64_t begin, int64_t end, int) {
    work.rows.gelu(x + begin * kPart, std::min(n, end * kPart) - begin * kPart);
  });
}

// y [rows, dim] = silu(gates) · what they gate, of products [rows, 2·dim].
void SiluMul(Workspace& work, const float* products, int64_t rows, int64_t dim, float* y) {
  constexpr int64_t kPart = 1024;  // so that two rows, too, can be dealt to many threads
  const int64_t parts = (dim + kPart - 1) / kPart;
  work.Deal(rows * parts, 4 * std::min(kPart, dim), [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; t++) {
      const int64_t r = t / parts, first = t % parts * kPart;
      const float* gate = products + r * 2 * dim + first;
      work.rows.silu_mul(gate, gate + dim, std::min(kPart, dim - first), y + r * dim + first);
    }
  });
}

// Every way gives a row the same bits in every company; which one is taken depends on the matrix and, for a
// request's own rows, on their number.
void MultiplyPart(Workspace& work, const PackedRows& part, const float* x, int64_t rows, RowClass row_class,
                  const Target& target) {
  if (SuitsTiles(work.isa, part)) {
    MultiplyOnTiles(work, part, x, rows, target);
  } else if (row_class == RowClass::kPrefill && PrefillsWithOneDnn(work.isa, part, rows)) {
    PrefillRows(work, part, x, rows, target);
  } else {
    MultiplyRows(work, part, x, rows, target);
  }
}

// The products of all parts, side by side.
void MultiplyParts(Workspace& work, const PackedLinear& linear, const float* x, int64_t rows,
                   RowClass row_class, bool accumulate, float* y) {
  for (const PackedRows& part : linear.parts) {
    MultiplyPart(work, part, x, rows, row_class, {y + part.first, linear.out, accumulate});
  }
}

}  // namespace

std::unique_ptr<Linear> PackLinear(ThreadPool& pool, std::span<const TensorView> parts, TensorView bias,
                                   DType compute) {
  BIFRONS_CHECK(!parts.empty() && (compute == DType::kF32 || compute == DType::kBF16));
  auto linear = std::make_unique<PackedLinear>();
  linear->in = parts[0].shape[1];
  linear->compute = compute;
  for (size_t i = 0; i < parts.size();) {
    size_t same = 0;
    while (i + same < parts.size() && parts[i + same].dtype == parts[i].dtype) {
      const Shape& shape = parts[i + same++].shape;
      BIFRONS_CHECK(shape.rank() == 2 && shape[1] == linear->in);
    }
    PackedRows rows = PackSameType(pool, parts.subspan(i, same), compute);
    rows.first = linear->out;
    linear->out += rows.out;
    linear->bytes += static_cast<size_t>(rows.stripes()) * rows.stripe_bytes;
    linear->parts.push_back(std::move(rows));
    i += same;
  }
  if (!bias.empty()) {
    BIFRONS_CHECK(bias.shape.elements() == linear->out);
    const std::vector<float> widened = ToFloats(bias);
    for (PackedRows& rows : linear->parts) {
      rows.bias.assign(widened.begin() + rows.first, widened.begin() + rows.first + rows.out);
    }
    linear->bytes += widened.size() * sizeof(float);
  }
  return linear;
}

void Multiply(Workspace& work, const PackedLinear& linear, const float* x, bool x_own, int64_t rows,
              RowClass row_class, Epilogue epilogue, float* y, bool y_own) {
  // What stands in own layout is panels of tiles wherever those exist, and rows elsewhere.
  const bool x_panels = x_own && StandsInPanels(work.isa, linear.compute, rows, linear.in);
  const bool y_panels = y_own && StandsInPanels(work.isa, linear.compute, rows,
                                                epilogue == Epilogue::kSiluMul ? linear.out / 2 : linear.out);
  if (x_panels || y_panels)
    return MultiplyPanels(work, linear, x, x_panels, rows, row_class, epilogue, y, y_panels);
  switch (epilogue) {
    case Epilogue::kNone:
    case Epilogue::kAdd:
      return MultiplyParts(work, linear, x, rows, row_class, epilogue == Epilogue::kAdd, y);
    case Epilogue::kGelu:
      MultiplyParts(work, linear, x, rows, row_class, false, y);
      return Gelu(work, y, rows * linear.out);
    case Epilogue::kSiluMul: {
      float* products = work.scratch.Get<float>(Scratch::kInner, rows * linear.out);
      MultiplyParts(work, linear, x, rows, row_class, false, products);
      return SiluMul(work, products, rows, linear.out / 2, y);
    }
  }
}

void MultiplyRows(Workspace& work, const PackedRows& linear, const float* x, int64_t rows,
                  const Target& target) {
  const ProductKind kind = KindOf(work.isa, linear);
  const int64_t in = linear.in;
  for (int64_t first = 0; first < rows; first += kMaxProductRows) {
    const int64_t chunk = std::min<int64_t>(rows - first, kMaxProductRows);
    float* packed = work.scratch.Get<float>(Scratch::kActivations, chunk * ((in + 1) / 2 * 2));
    // Rearranging few values costs less than waking the pool.
    constexpr int64_t kColumnsPerTask = 256, kSmall = 16384;
    const int64_t per_task = chunk * in <= kSmall ? in + in % 2 : kColumnsPerTask;
    const bool round = linear.compute == DType::kBF16;
    work.pool.ParallelFor((in + per_task - 1) / per_task, [&](int64_t begin, int64_t end, int) {
      work.rows.pack_rows(kind, round, x + first * in, chunk, in, begin * per_task,
                          std::min(in, end * per_task), packed);
    });
    work.pool.ParallelFor(linear.stripes(), [&](int64_t begin, int64_t end, int) {
      for (int64_t s = begin; s < end; s++) {
        const int64_t column = s * kStripe;
        work.rows.product(kind, {.weights = linear.stripe(s),
                                 .in = in,
                                 .x = packed,
                                 .rows = chunk,
                                 .bias = linear.bias.empty() ? nullptr : linear.bias.data() + column,
                                 .y = target.y + first * target.y_stride + column,
                                 .y_stride = target.y_stride,
                                 .columns = static_cast<int>(std::min<int64_t>(kStripe, linear.out - column)),
                                 .accumulate = target.accumulate});
      }
    });
  }
}

}  // namespace bifrons::cpu
