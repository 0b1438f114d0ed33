// A row of attention has the same bits in every batch, with every number of threads and wherever its pages
// lie.
#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

#include "kernels/op_matrix/numbers.h"
#include "tests/ops_device.h"

namespace bifrons {
namespace {

using op_matrix::Normals;
using op_matrix::Numbers;

// Some rows of a batch: of a sequence of its own, after `start` positions.
struct Piece {
  int64_t rows, start;
};
// A window, one token, a prompt.
const std::vector<Piece> kPieces{{3, 137}, {1, 70}, {33, 0}};
constexpr int64_t kRows = 37, kPositions = 140;

struct Heads {
  int64_t heads, kv_heads, dim;
  DType type;
};
const Heads kHeads[] = {{4, 4, 64, DType::kF32}, {4, 4, 128, DType::kBF16}, {6, 2, 40, DType::kBF16},
                        {5, 1, 17, DType::kF32}, {36, 2, 16, DType::kF32},  {8, 8, 3, DType::kBF16},
                        {2, 2, 136, DType::kF32}};

// The three sequences in pages of some size, in a device of some threads.
struct Cached {
  Cached(int threads, const Heads& h, int64_t page_positions)
      : heads(h),
        device(Cpu(threads)),
        queue(device.MakeQueue()),
        pages(device.MakeKvPages({2, h.kv_heads, h.dim, page_positions, h.type})),
        q(device.PackTensor(Normals(DType::kF32, {kRows, h.heads * h.dim}, 7).view())) {
    const auto per_sequence = static_cast<int32_t>((kPositions + page_positions - 1) / page_positions);
    pages->Grow(3 * per_sequence);
    const int64_t width = h.kv_heads * h.dim;
    for (size_t i = 0; i < kPieces.size(); i++) {
      std::vector<int32_t>& list = numbers.emplace_back();
      for (int32_t page = per_sequence; page-- > 0;) list.push_back(3 * page + static_cast<int32_t>(i));
      const KvSpan all{kPositions, 0, list};
      const DeviceTensor k = device.PackTensor(Normals(DType::kF32, {kPositions, width}, 10 + i).view());
      const DeviceTensor v = device.PackTensor(Normals(DType::kF32, {kPositions, width}, 20 + i).view());
      queue->StoreKv(k.view(), v.view(), *queue->MakeBatch(*pages, {&all, 1}), 1);
    }
  }
  // Of rows [first, first + …) of q.
  Tensor Attend(std::span<const KvSpan> spans, int64_t first) {
    const auto batch = queue->MakeBatch(*pages, spans);
    const DeviceTensor y = device.NewTensor(DType::kF32, {batch->rows(), heads.heads * heads.dim});
    queue->Attend(q.view().Rows(first, batch->rows()), *batch, 1, y.view());
    return queue->Fetch(y.view());
  }
  Tensor AttendTogether() {
    std::vector<KvSpan> spans;
    for (size_t i = 0; i < kPieces.size(); i++)
      spans.push_back({kPieces[i].rows, kPieces[i].start, numbers[i]});
    return Attend(spans, 0);
  }

  Heads heads;
  Device& device;
  std::unique_ptr<Queue> queue;
  std::unique_ptr<KvPages> pages;
  DeviceTensor q;
  std::vector<std::vector<int32_t>> numbers;
};

TEST_CASE("a row of attention feels neither its batch nor the threads nor the pages") {
  for (const Heads& heads : kHeads) {
    const Tensor together = Cached(2, heads, 160).AttendTogether();  // a sequence in a page
    const size_t row_bytes = together.bytes() / kRows;
    const auto same = [&](const Tensor& got, int64_t first) {
      return std::memcmp(got.data(), static_cast<const uint8_t*>(together.data()) + first * row_bytes,
                         got.bytes()) == 0;
    };
    for (const int64_t page_positions : {160, 96, 64, 32}) {
      INFO("heads " << heads.heads << "/" << heads.kv_heads << " dim " << heads.dim << " "
                    << NameOf(heads.type) << " pages of " << page_positions);
      for (const int threads : {1, 3})
        CHECK(same(Cached(threads, heads, page_positions).AttendTogether(), 0));
      Cached cached(3, heads, page_positions);
      int64_t first = 0;
      for (size_t i = 0; i < kPieces.size(); i++) {  // each row alone, then its span alone
        for (int64_t r = 0; r < kPieces[i].rows; r++) {
          const KvSpan one{1, kPieces[i].start + r, cached.numbers[i]};
          REQUIRE(same(cached.Attend({&one, 1}, first + r), first + r));
        }
        const KvSpan span{kPieces[i].rows, kPieces[i].start, cached.numbers[i]};
        CHECK(same(cached.Attend({&span, 1}, first), first));
        first += kPieces[i].rows;
      }
    }
  }
}

TEST_CASE("attention stands large scores") {
  Device& device = Cpu(1);
  const auto queue = device.MakeQueue();
  const auto pages = device.MakeKvPages({1, 1, 16, 32, DType::kF32});
  pages->Grow(1);
  const int32_t page = 0;
  const auto stored = [&](const auto& value) {
    return device.PackTensor(Numbers(DType::kF32, {3, 16}, value).view());
  };
  const DeviceTensor k = stored([](int64_t i) { return i / 16 == 1 ? 1e4 : -1e4; });
  const DeviceTensor v = stored([](int64_t i) { return i / 16 + i % 16; });
  const DeviceTensor q = stored([](int64_t) { return 1e4; }), y = device.NewTensor(DType::kF32, {1, 16});
  const KvSpan all{3, 0, {&page, 1}}, last{1, 2, {&page, 1}};
  queue->StoreKv(k.view(), v.view(), *queue->MakeBatch(*pages, {&all, 1}), 0);
  queue->Attend(q.view().Rows(0, 1), *queue->MakeBatch(*pages, {&last, 1}), 0, y.view());
  const Tensor got = queue->Fetch(y.view());
  for (int i = 0; i < 16; i++) CHECK(got.as<float>()[i] == static_cast<float>(1 + i));
}

}  // namespace
}  // namespace bifrons
