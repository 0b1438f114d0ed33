// Deals the row ops to the pool. What a row gets never depends on how the work is dealt.
#include "kernels/cpu/rows.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/linear.h"
#include "kernels/cpu/prefill.h"
#include "kernels/cpu/row_kernels.h"
#include "kernels/cpu/tiles.h"

namespace bifrons::cpu {

const RowKernels& GetRowKernels(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::kAvx2:
      return kRowKernelsAvx2;
    // Tiles multiply bf16 matrices (tiles.h); everything else of "amx" is "avx512".
    case Isa::kAvx512:
    case Isa::kAmx:
      return kRowKernelsAvx512;
    default:
      return kRowKernelsBaseline;
  }
#else
  BIFRONS_CHECK(isa == Isa::kNeon);
  return kRowKernelsNeon;
#endif
}

namespace {

// Elements whose work pays for waking the pool.
constexpr int64_t kParallelElements = 16384;

template <class Body>
void Deal(ThreadPool& pool, int64_t tasks, int64_t elements_per_task, const Body& body) {
  if (tasks * elements_per_task < kParallelElements) {
    if (tasks > 0) body(int64_t{0}, tasks, 0);
  } else {
    pool.ParallelFor(tasks, body);
  }
}

template <class T>
void WidenRow(const T* from, int64_t n, float* to) {
  for (int64_t i = 0; i < n; i++) to[i] = ToFloat(from[i]);
}

void GatherRows(ThreadPool& pool, TensorView table, const int32_t* ids, int64_t rows, float* y) {
  const int64_t dim = table.shape[1];
  Deal(pool, rows, dim, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) {
      BIFRONS_CHECK(ids[r] >= 0 && ids[r] < table.shape[0], "id %d of %lld", ids[r],
                    static_cast<long long>(table.shape[0]));
      const int64_t from = ids[r] * dim;
      float* to = y + r * dim;
      switch (table.dtype) {
        case DType::kF32:
          std::copy_n(table.as<float>() + from, dim, to);
          break;
        case DType::kBF16:
          WidenRow(table.as<BF16>() + from, dim, to);
          break;
        case DType::kF16:
          WidenRow(table.as<F16>() + from, dim, to);
          break;
        case DType::kI32:
          BIFRONS_CHECK(false, "a table of integers");
      }
    }
  });
}

// A row of a ragged batch: where it stands in its sequence.
struct BatchRow {
  int64_t row, position;
  const KvLayer* kv;
};

const std::vector<BatchRow>& RowsOf(std::span<const KvSpan> spans) {
  thread_local std::vector<BatchRow> rows;
  rows.clear();
  for (const KvSpan& span : spans) {
    BIFRONS_CHECK(span.start >= 0 && span.start + span.rows <= span.kv.capacity());
    for (int64_t r = 0; r < span.rows; r++) rows.push_back({span.row + r, span.start + r, &span.kv});
  }
  return rows;
}

// The members of Ops have no context, so the instruction set is part of the function's type.
template <Isa isa>
struct RowOps {
  static void LinearRows(ThreadPool& pool, const Linear& linear, const float* x, int64_t rows,
                         RowClass row_class, bool accumulate, float* y) {
    const auto& packed = static_cast<const PackedLinear&>(linear);
    if (SuitsTiles(isa, packed)) {
      MultiplyOnTiles(pool, packed, x, rows, accumulate, y);
    } else if (row_class == RowClass::kPrefill && PrefillsWithOneDnn(isa, packed, rows)) {
      PrefillRows(isa, pool, packed, x, rows, accumulate, y);
    } else {
      MultiplyRows(isa, pool, packed, x, rows, accumulate, y);
    }
  }

  static void RmsNorm(ThreadPool& pool, const float* x, const float* weight, float eps, int64_t rows,
                      int64_t dim, float* y) {
    Deal(pool, rows, dim, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; r++) {
        GetRowKernels(isa).rms_norm(x + r * dim, weight, eps, dim, y + r * dim);
      }
    });
  }

  static void LayerNorm(ThreadPool& pool, const float* x, const float* weight, const float* bias, float eps,
                        int64_t rows, int64_t dim, float* y) {
    Deal(pool, rows, dim, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; r++) {
        GetRowKernels(isa).layer_norm(x + r * dim, weight, bias, eps, dim, y + r * dim);
      }
    });
  }

  static void SiluMul(ThreadPool& pool, const float* gate_up, int64_t rows, int64_t dim, float* y) {
    constexpr int64_t kPart = 1024;  // so that two rows, too, can be dealt to many threads
    const int64_t parts = (dim + kPart - 1) / kPart;
    Deal(pool, rows * parts, 4 * std::min(kPart, dim), [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; t++) {
        const int64_t r = t / parts, first = t % parts * kPart;
        const float* gate = gate_up + r * 2 * dim + first;
        GetRowKernels(isa).silu_mul(gate, gate + dim, std::min(kPart, dim - first), y + r * dim + first);
      }
    });
  }

  static void Gelu(ThreadPool& pool, float* x, int64_t n) {
    constexpr int64_t kPart = 1024;
    Deal(pool, (n + kPart - 1) / kPart, 4 * std::min(kPart, n), [&](int64_t begin, int64_t end, int) {
      GetRowKernels(isa).gelu(x + begin * kPart, std::min(n, end * kPart) - begin * kPart);
    });
  }

  static void GeluMlp(ThreadPool& pool, const Linear& fc1, const Linear& fc2, const float* x, int64_t rows,
                      float* scratch, float* y) {
    const auto &first = static_cast<const PackedLinear&>(fc1),
               &second = static_cast<const PackedLinear&>(fc2);
    BIFRONS_CHECK(first.out == second.in);
    if (MlpSuitsTiles(isa, first, second, rows)) {
      GeluMlpOnTiles(pool, first, second, x, rows, scratch, y);
      return;
    }
    LinearRows(pool, fc1, x, rows, RowClass::kPrefill, false, scratch);
    Gelu(pool, scratch, rows * fc1.out);
    LinearRows(pool, fc2, scratch, rows, RowClass::kPrefill, true, y);
  }

  static void Rope(ThreadPool& pool, float* x, int64_t rows, int64_t stride, int64_t heads, int64_t head_dim,
                   const int32_t* positions, const float* cos, const float* sin) {
    const int64_t half = head_dim / 2;
    Deal(pool, rows, heads * head_dim, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; r++) {
        const int64_t angles = positions[r] * half;
        for (int64_t h = 0; h < heads; h++) {
          float* low = x + r * stride + h * head_dim;
          GetRowKernels(isa).rotate(low, low + half, cos + angles, sin + angles, half);
        }
      }
    });
  }

  static void KvStore(ThreadPool& pool, const float* k, const float* v, int64_t stride,
                      std::span<const KvSpan> spans, const AttentionShape& shape) {
    const std::vector<BatchRow>& rows = RowsOf(spans);
    const int64_t dim = shape.head_dim;
    Deal(pool, static_cast<int64_t>(rows.size()), 2 * shape.kv_heads * dim,
         [&](int64_t begin, int64_t end, int) {
           for (int64_t r = begin; r < end; r++) {
             const BatchRow& row = rows[r];
             for (int64_t h = 0; h < shape.kv_heads; h++) {
               const int64_t from = row.row * stride + h * dim;
               void* keys = row.kv->KeysAt(h, row.position, dim);
               void* values = row.kv->ValuesAt(h, row.position, dim);
               if (row.kv->dtype == DType::kBF16) {
                 GetRowKernels(isa).to_bf16(k + from, dim, static_cast<BF16*>(keys));
                 GetRowKernels(isa).to_bf16(v + from, dim, static_cast<BF16*>(values));
               } else {
                 std::copy_n(k + from, dim, static_cast<float*>(keys));
                 std::copy_n(v + from, dim, static_cast<float*>(values));
               }
             }
           }
         });
  }

  static void Attention(ThreadPool& pool, const float* q, int64_t q_stride, std::span<const KvSpan> spans,
                        const AttentionShape& shape, float* y) {
    const std::vector<BatchRow>& rows = RowsOf(spans);
    const int64_t n = static_cast<int64_t>(rows.size()), dim = shape.head_dim;
    const int64_t group = shape.heads / shape.kv_heads;
    const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
    // Heads outermost: the rows of a window or chunk find their keys in the cache, and a chunk's short first
    // rows and long last rows are spread over the threads.
    pool.ParallelFor(shape.kv_heads * n, [&](int64_t begin, int64_t end, int) {
      thread_local std::vector<float> scores;
      for (int64_t t = begin; t < end; t++) {
        const int64_t kv_head = t / n;
        const BatchRow& row = rows[t % n];
        const bool bf16 = row.kv->dtype == DType::kBF16;
        const size_t in_page = kv_head * row.kv->page_positions * dim * SizeOf(row.kv->dtype);
        const int64_t positions = row.position + 1;
        for (int64_t first = 0; first < group; first += kMaxAttentionQueries) {
          const int64_t queries = std::min<int64_t>(group - first, kMaxAttentionQueries);
          const size_t needed = queries * ((positions + 15) / 16 * 16);
          if (scores.size() < needed) scores.resize(needed);
          const int64_t head = kv_head * group + first;
          const AttentionTask task = {.q = q + row.row * q_stride + head * dim,
                                      .queries = queries,
                                      .head_dim = dim,
                                      .pages = row.kv->pages.data(),
                                      .page_positions = row.kv->page_positions,
                                      .keys = row.kv->keys + in_page,
                                      .values = row.kv->values + in_page,
                                      .positions = positions,
                                      .scale = scale,
                                      .scores = scores.data(),
                                      .y = y + (row.row * shape.heads + head) * dim};
          if (bf16) {
            GetRowKernels(isa).attention_bf16(task);
          } else {
            GetRowKernels(isa).attention_f32(task);
          }
        }
      }
    });
  }
};

template <Isa isa>
void Fill(Ops& ops) {
  ops.pack_linear = PackLinear;
  ops.linear = RowOps<isa>::LinearRows;
  ops.gather_rows = GatherRows;
  ops.rms_norm = RowOps<isa>::RmsNorm;
  ops.layer_norm = RowOps<isa>::LayerNorm;
  ops.silu_mul = RowOps<isa>::SiluMul;
  ops.gelu = RowOps<isa>::Gelu;
  ops.gelu_mlp = RowOps<isa>::GeluMlp;
  ops.rope = RowOps<isa>::Rope;
  ops.kv_store = RowOps<isa>::KvStore;
  ops.attention = RowOps<isa>::Attention;
}

}  // namespace

void FillRowOps(Isa isa, Ops& ops) {
  switch (isa) {
    case Isa::kBaseline:
      return Fill<Isa::kBaseline>(ops);
    case Isa::kAvx2:
      return Fill<Isa::kAvx2>(ops);
    case Isa::kAvx512:
      return Fill<Isa::kAvx512>(ops);
    case Isa::kAmx:
      return Fill<Isa::kAmx>(ops);
    case Isa::kNeon:
      return Fill<Isa::kNeon>(ops);
  }
}

}  // namespace bifrons::cpu
