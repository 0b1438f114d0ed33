// StoreKv and CopyPositions: what is in pages can only be attended to, so keys are made that single out one
// position for every row, whose values then come back exactly.
#include "kernels/op_matrix/sequences.h"
#include "src/base/blocks.h"

namespace bifrons::op_matrix {
namespace {

constexpr int64_t kLayers = 3;

// Keys are `value(position)` in a head's first number and zero elsewhere: bf16 holds them up to 256, and a
// block of one number within half of a rounding of f16, which is less than the difference to the next one.
template <class Value>
Numbers Keys(int64_t positions, const KvShape& shape, const Value& value) {
  const int64_t width = shape.kv_heads * shape.head_dim;
  return {DType::kF32, {positions, width}, [&](int64_t i) {
            return i % shape.head_dim == 0 ? value(i / width) : 0;
          }};
}

// Makes a difference of 1 between keys one of more than 1000 between scores: only the largest key has a
// weight.
Numbers Queries(int64_t rows, const KvShape& shape) {
  return {DType::kF32, {rows, shape.kv_heads * shape.head_dim}, [&](int64_t i) {
            return i % shape.head_dim == 0 ? 1024 * std::sqrt(static_cast<double>(shape.head_dim)) : 0;
          }};
}

Numbers Values(int64_t positions, const KvShape& shape, int64_t seed) {
  return Normals(DType::kF32, {positions, shape.kv_heads * shape.head_dim}, static_cast<uint64_t>(seed));
}

// What comes back of `numbers`, as they are stored.
Numbers Stored(const Numbers& numbers, DType type) {
  const int64_t n = numbers.shape().elements();
  if (!IsQuantized(type)) return {type, numbers.shape(), [&](int64_t i) { return numbers[i]; }};
  std::vector<uint8_t> blocks(BytesOf(type, n));
  std::vector<float> stored(static_cast<size_t>(n));
  Quantize(numbers.view().as<float>(), n, type, blocks.data());
  Dequantize(blocks.data(), type, n, stored.data());
  return {DType::kF32, numbers.shape(), [&](int64_t i) { return stored[static_cast<size_t>(i)]; }};
}

struct PageCase : Case {
  KvShape kv;
  explicit PageCase(const KvShape& shape) : kv(shape) {}
  std::string Text() const {
    return std::to_string(kv.kv_heads) + " heads of " + std::to_string(kv.head_dim) + " " + NameOf(kv.type) +
           ", pages of " + std::to_string(kv.page_positions);
  }
  int64_t width() const { return kv.kv_heads * kv.head_dim; }
};

// Three sequences at once, in one layer; the others hold what they held.
struct StoreKvCase : PageCase {
  static constexpr int64_t kLayer = 1;
  std::vector<Piece> pieces{{45, 0}, {3, 77}, {1, 30}};

  explicit StoreKvCase(const KvShape& shape) : PageCase(shape) {
    op = "StoreKv";
    this->shape = Text();
    bytes = static_cast<double>(4 * 2 * 49 * width()) +
            static_cast<double>(kv.Bytes(49)) / static_cast<double>(kv.layers);
  }

  void Place(Stage& stage) const override {
    const Sequences sequences(stage, kv, pieces);
    int64_t rows = 0;
    std::vector<std::function<void(Queue&)>> looks;
    for (size_t i = 0; i < pieces.size(); i++) {
      const int64_t positions = pieces[i].start + pieces[i].rows;
      const KvBatch& all = sequences.MakeRows(stage, i, positions);
      const View q = stage.In(Queries(positions, kv).view());
      for (int64_t layer = 0; layer < kLayers; layer++) {
        // Of the tested layer, what stands before the op; falling keys show whether it comes to its place.
        const Numbers keys = Keys(
            positions, kv, [&](int64_t p) { return layer == kLayer && p >= pieces[i].start ? 200 - p : p; });
        stage.queue().StoreKv(stage.In(keys.view()), stage.In(Before(i, layer).view()), all, layer);
        const View y = stage.Out(DType::kF32, {positions, width()});
        looks.push_back([=, &all](Queue& queue) { queue.Attend(q, all, layer, y); });
      }
      rows += pieces[i].rows;
    }
    const Numbers keys = Keys(rows, kv, [&](int64_t row) { return Position(row); });
    const View k = stage.In(keys.view(), {2, 3}), v = stage.In(New().view(), {5, 0});
    stage.op = [k, v, &batch = sequences.batch()](Queue& queue) { queue.StoreKv(k, v, batch, kLayer); };
    stage.look = [looks](Queue& queue) {
      for (const auto& look : looks) look(queue);
    };
  }
  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    const Numbers stored = Stored(New(), kv.type);
    double worst = 0;
    int64_t first = 0;
    for (size_t i = 0; i < pieces.size(); i++) {
      for (int64_t layer = 0; layer < kLayers; layer++) {
        const Numbers before = Stored(Before(i, layer), kv.type);
        const Tensor& y = got[i * kLayers + static_cast<size_t>(layer)];
        for (int64_t j = 0; j < y.shape().elements(); j++) {
          const int64_t p = j / width();
          const bool stored_now = layer == kLayer && p >= pieces[i].start;
          const double wanted =
              stored_now ? stored[(first + p - pieces[i].start) * width() + j % width()] : before[j];
          worst = Worse(worst, Share(y.as<float>()[j], wanted, 0));
        }
      }
      first += pieces[i].rows;
    }
    return worst;
  }

  // Of a row of the batch.
  int64_t Position(int64_t row) const {
    for (const Piece& piece : pieces) {
      if (row < piece.rows) return piece.start + row;
      row -= piece.rows;
    }
    return 0;
  }
  Numbers Before(size_t piece, int64_t layer) const {
    return Values(pieces[piece].start + pieces[piece].rows, kv, 10 * static_cast<int64_t>(piece) + layer);
  }
  Numbers New() const { return Values(49, kv, 99); }
};

struct CopyPositionsCase : PageCase {
  int64_t count;

  CopyPositionsCase(const KvShape& shape, int64_t n) : PageCase(shape), count(n) {
    op = "CopyPositions";
    this->shape = std::to_string(count) + " of " + Text();
    bytes = 2 * static_cast<double>(kv.Bytes(count));
  }

  // The first page's keys rise. Where it is to be overwritten the second page's fall, so that any of them
  // left there would be attended to; beyond, they rise on.
  void Place(Stage& stage) const override {
    const int64_t n = kv.page_positions;
    KvPages& pages = stage.Keep(stage.device().MakeKvPages(kv));
    pages.Grow(kTo + 1);
    std::vector<const KvBatch*> batches;
    for (const int32_t page : {kFrom, kTo}) {
      const KvSpan span{n, 0, {&page, 1}};
      const KvBatch& all = stage.Keep(stage.queue().MakeBatch(pages, {&span, 1}));
      const Numbers keys = Keys(n, kv, [&](int64_t p) { return page == kTo && p < count ? 250 - p : p; });
      for (int64_t layer = 0; layer < kLayers; layer++) {
        stage.queue().StoreKv(stage.In(keys.view()), stage.In(Of(page, layer).view()), all, layer);
      }
      batches.push_back(&all);
    }
    const View q = stage.In(Queries(n, kv).view());
    std::vector<View> ys;
    for (int64_t i = 0; i < 2 * kLayers; i++) ys.push_back(stage.Out(DType::kF32, {n, width()}));
    stage.op = [&pages, positions = count](Queue& queue) {
      queue.CopyPositions(pages, kFrom, positions, kTo);
    };
    stage.look = [=](Queue& queue) {
      for (size_t i = 0; i < ys.size(); i++)
        queue.Attend(q, *batches[i / kLayers], static_cast<int64_t>(i % kLayers), ys[i]);
    };
  }
  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    double worst = 0;
    for (size_t i = 0; i < got.size(); i++) {
      const auto layer = static_cast<int64_t>(i % kLayers);
      const Numbers from = Stored(Of(kFrom, layer), kv.type), to = Stored(Of(kTo, layer), kv.type);
      for (int64_t j = 0; j < from.shape().elements(); j++) {
        const bool copied = i < kLayers || j / width() < count;
        worst = Worse(worst, Share(got[i].as<float>()[j], copied ? from[j] : to[j], 0));
      }
    }
    return worst;
  }

  static constexpr int32_t kFrom = 2, kTo = 9;
  Numbers Of(int32_t page, int64_t layer) const { return Values(kv.page_positions, kv, 10 * page + layer); }
};

}  // namespace

void AddPageCases(Cases& cases) {
  constexpr struct { int64_t heads, dim; } kShapes[] = {{1, 2}, {3, 17}, {2, 40}, {4, 64}, {2, 128}};
  for (const auto& [heads, dim] : kShapes) {
    for (const DType type : {DType::kF32, DType::kBF16, DType::kQ8_0}) {
      if (dim % BlockOf(type).values != 0) continue;
      for (const int64_t page_positions : {32, 64, 96})
        cases.push_back(std::make_unique<StoreKvCase>(KvShape{kLayers, heads, dim, page_positions, type}));
      for (const int64_t count : {0, 1, 17, 32})
        cases.push_back(std::make_unique<CopyPositionsCase>(KvShape{kLayers, heads, dim, 32, type}, count));
    }
  }
  for (const int64_t heads : {16, 32}) {  // Janus-Pro 1B and 7B
    cases.push_back(std::make_unique<StoreKvCase>(KvShape{kLayers, heads, 128, 64, DType::kBF16}));
    cases.back()->published = true;
    cases.push_back(std::make_unique<CopyPositionsCase>(KvShape{kLayers, heads, 128, 64, DType::kBF16}, 40));
    cases.back()->published = true;
  }
}

}  // namespace bifrons::op_matrix
