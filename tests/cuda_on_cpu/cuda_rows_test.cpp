// A row never feels its neighbours on the cuda device: its bits are those that it has alone.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <iterator>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/op_matrix/numbers.h"
#include "src/base/blocks.h"

namespace bifrons {
namespace {

using op_matrix::Normals;
using op_matrix::Numbers;
using op_matrix::Weights;

// Rows [first, first + count) of a matrix of f32.
TensorView Part(TensorView all, int64_t first, int64_t count) {
  all.data = all.as<float>() + first * all.shape[1];
  all.shape = {count, all.shape[1]};
  return all;
}

bool SameRows(const Tensor& got, int64_t got_first, int64_t count, const Tensor& all, int64_t first) {
  const int64_t width = all.shape()[1];
  return std::memcmp(got.as<float>() + got_first * width, all.as<float>() + first * width,
                     static_cast<size_t>(count * width) * sizeof(float)) == 0;
}

TEST_CASE("a row of a product has the same bits alone, in any batch and between NaN") {
  const auto device = cuda::MakeCudaDevice(0);
  const auto queue = device->MakeQueue();
  constexpr int64_t kRows = 70;
  struct Matrix {
    int64_t out, in;
    DType stored;
  };
  for (const Matrix& m : {Matrix{97, 130, DType::kBF16}, Matrix{31, 33, DType::kF32},
                          Matrix{64, 257, DType::kF16}, Matrix{20, 4128, DType::kBF16}}) {
    const Numbers weights = Weights(m.stored, {m.out, m.in}, 1), x = Normals(DType::kF32, {kRows, m.in}, 2);
    const TensorView part = weights.view();
    for (const DType compute : {DType::kF32, DType::kBF16}) {
      const auto linear = device->PackLinear({&part, 1}, {}, compute);
      for (const RowClass row_class : {RowClass::kDecode, RowClass::kPrefill}) {
        INFO(m.out << "×" << m.in << " " << NameOf(m.stored) << " · " << NameOf(compute) << " "
                   << static_cast<int>(row_class));
        const auto product = [&](TensorView rows) {
          const DeviceTensor in = device->PackTensor(rows);
          const DeviceTensor out = device->NewTensor(DType::kF32, {rows.shape[0], m.out});
          queue->Multiply(*linear, in.view(), row_class, Epilogue::kNone, out.view());
          return queue->Fetch(out.view());
        };
        const Tensor all = product(x.view());
        for (const int64_t rows : {1, 2, 3, 4, 5, 9, 33, 69}) {
          for (const int64_t first : {int64_t{0}, kRows - rows})
            CHECK(SameRows(product(Part(x.view(), first, rows)), 0, rows, all, first));
        }
        const Numbers crowd(DType::kF32, {5, m.in}, [&](int64_t i) { return i / m.in == 3 ? x[i] : NAN; });
        CHECK(SameRows(product(crowd.view()), 3, 1, all, 3));
      }
    }
  }
}

// The op matrix judges parts in blocks and plain ones, but no stack of both.
TEST_CASE("parts in blocks and plain ones that are stacked have the bits that they have alone") {
  const auto device = cuda::MakeCudaDevice(0);
  const auto queue = device->MakeQueue();
  constexpr int64_t kIn = 256, kPart = 32;
  std::vector<Tensor> parts;
  std::vector<TensorView> views;
  for (const DType type : {DType::kBF16, DType::kQ8_0, DType::kF32, DType::kQ4_0}) {
    const Numbers numbers = Normals(DType::kF32, {kPart, kIn}, parts.size() + 1);
    Tensor& part = parts.emplace_back(type, Shape{kPart, kIn});
    if (IsQuantized(type)) {
      Quantize(numbers.view().as<float>(), kPart * kIn, type, part.data());
    } else {
      for (int64_t i = 0; i < kPart * kIn; i++)
        op_matrix::SetElement(part.data(), type, i, numbers.view().as<float>()[i]);
    }
  }
  for (const Tensor& part : parts) views.push_back(part.view());
  const auto count = std::ssize(parts), out = count * kPart;
  const DeviceTensor norm = device->PackTensor(Normals(DType::kF32, {kIn}, 8, 0.1f, 1).view());
  for (const RowClass row_class : {RowClass::kDecode, RowClass::kPrefill}) {
    for (const int64_t rows : {2, 11}) {
      const DeviceTensor x = device->PackTensor(Normals(DType::kF32, {rows, kIn}, 9).view());
      const auto product = [&](const Linear& linear, Epilogue epilogue) {
        const int64_t width = epilogue == Epilogue::kSiluMul ? linear.out / 2 : linear.out;
        const DeviceTensor y = device->NewTensor(DType::kF32, {rows, width});
        queue->MultiplyNormed(linear, x.view(), norm.view(), 1e-6f, row_class, epilogue, y.view());
        return queue->Fetch(y.view());
      };
      const auto stack = device->PackLinear(views, {}, DType::kF32);
      const Tensor all = product(*stack, Epilogue::kNone), gelu = product(*stack, Epilogue::kGelu);
      for (int64_t i = 0; i < count; i++) {
        const auto alone = device->PackLinear({&views[static_cast<size_t>(i)], 1}, {}, DType::kF32);
        const Tensor own = product(*alone, Epilogue::kNone), own_gelu = product(*alone, Epilogue::kGelu);
        for (int64_t r = 0; r < rows; r++) {
          const auto same = [&](const Tensor& a, const Tensor& b) {
            return std::memcmp(a.as<float>() + r * out + i * kPart, b.as<float>() + r * kPart,
                               kPart * sizeof(float)) == 0;
          };
          CHECK(same(all, own));
          CHECK(same(gelu, own_gelu));
        }
      }
      const Tensor gated = product(*stack, Epilogue::kSiluMul);
      for (int64_t i = 0; i < rows * out / 2; i++) {
        const float* row = all.as<float>() + i / (out / 2) * out;
        const double gate = row[i % (out / 2)], up = row[out / 2 + i % (out / 2)];
        CHECK(gated.as<float>()[i] == Approx(gate / (1 + std::exp(-gate)) * up).epsilon(1e-5));
      }
    }
  }
}

struct Heads {
  int64_t heads, kv_heads, dim;
  DType type;
};

// Windows that cross the end of a span and one that does not, single rows and a prompt, which see one to five
// spans. A row alone is also alone in its tile, and no launch is for more spans than it sees.
TEST_CASE("a row of attention has the same bits alone, in any batch and where later keys are NaN") {
  struct Piece {
    int64_t rows, start;
  };
  constexpr Piece kPieces[] = {{3, 137}, {11, 122}, {1, 70}, {33, 0}, {1, 300}, {5, 509}};
  constexpr int64_t kRows = 54, kPositions = 514, kPages = 17;
  const auto device = cuda::MakeCudaDevice(0);
  const auto queue = device->MakeQueue();
  for (const Heads& h : {Heads{2, 2, 64, DType::kF32}, Heads{6, 2, 40, DType::kBF16},
                         Heads{5, 1, 17, DType::kF32}, Heads{1, 1, 128, DType::kBF16}}) {
    const auto pages = device->MakeKvPages({2, h.kv_heads, h.dim, 32, h.type});
    pages->Grow(kPages * std::ssize(kPieces));
    const int64_t width = h.kv_heads * h.dim;
    const DeviceTensor q = device->PackTensor(Normals(DType::kF32, {kRows, h.heads * h.dim}, 7).view());
    std::vector<std::vector<int32_t>> lists;
    const auto store = [&](size_t piece, int64_t first, TensorView k, TensorView v) {
      const KvSpan span{k.shape[0], first, lists[piece]};
      const DeviceTensor keys = device->PackTensor(k), values = device->PackTensor(v);
      queue->StoreKv(keys.view(), values.view(), *queue->MakeBatch(*pages, {&span, 1}), 1);
    };
    for (size_t i = 0; i < std::size(kPieces); i++) {
      std::vector<int32_t>& list = lists.emplace_back();
      for (int32_t page = 0; page < kPages; page++)
        list.push_back(page * static_cast<int32_t>(std::size(kPieces)) + static_cast<int32_t>(i));
      store(i, 0, Normals(DType::kF32, {kPositions, width}, 10 + i).view(),
            Normals(DType::kF32, {kPositions, width}, 20 + i).view());
    }
    const auto attend = [&](std::span<const KvSpan> spans, int64_t first) {
      const auto batch = queue->MakeBatch(*pages, spans);
      const DeviceTensor y = device->NewTensor(DType::kF32, {batch->rows(), h.heads * h.dim});
      queue->Attend(q.view().Rows(first, batch->rows()), *batch, 1, y.view());
      return queue->Fetch(y.view());
    };
    std::vector<KvSpan> spans;
    for (size_t i = 0; i < std::size(kPieces); i++)
      spans.push_back({kPieces[i].rows, kPieces[i].start, lists[i]});
    const Tensor all = attend(spans, 0);
    CHECK(SameRows(attend(spans, 0), 0, kRows, all, 0));
    int64_t first = 0;
    for (const KvSpan& span : spans) {
      CHECK(SameRows(attend({&span, 1}, first), 0, span.rows, all, first));
      for (int64_t r = 0; r < span.rows; r++) {
        const KvSpan one{1, span.start + r, span.pages};
        CHECK(SameRows(attend({&one, 1}, first + r), 0, 1, all, first + r));
      }
      first += span.rows;
    }
    // The window's last position becomes NaN, which its first two rows do not see.
    const Numbers nan(DType::kF32, {1, width}, [](int64_t) { return NAN; });
    store(0, 139, nan.view(), nan.view());
    const Tensor marred = attend(spans, 0);
    CHECK(SameRows(marred, 0, 2, all, 0));
    CHECK(std::isnan(marred.as<float>()[2 * h.heads * h.dim]));
    CHECK(SameRows(marred, 3, kRows - 3, all, 3));
  }
}

}  // namespace
}  // namespace bifrons
