// RopeStoreKv against f64 and StoreKv; Attend, over pages that StoreKv filled, against the reference device.
#include <algorithm>

#include "kernels/op_matrix/sequences.h"

namespace bifrons::op_matrix {
namespace {

// ---- RopeStoreKv --------------------------------------------------------------------------------

// Queries and keys are judged by f64. What is in pages can only be attended to: it must be what StoreKv puts
// there of the rotated keys.
struct RopeStoreKvCase : Case {
  static constexpr int64_t kLayer = 1;  // of two
  int64_t heads;
  KvShape kv;
  std::vector<Piece> pieces;

  RopeStoreKvCase(int64_t h, int64_t kv_heads, int64_t dim, DType type, std::vector<Piece> p)
      : heads(h), kv{2, kv_heads, dim, 32, type}, pieces(std::move(p)) {
    op = "RopeStoreKv";
    shape = std::to_string(Rows()) + " rows, " + std::to_string(heads) + "/" + std::to_string(kv_heads) +
            " heads of " + std::to_string(dim) + " " + NameOf(type);
    bytes = 4.0 * static_cast<double>(Rows() * (2 * heads + 3 * kv_heads) * dim) +
            static_cast<double>(kv.Bytes(Rows())) / static_cast<double>(kv.layers);
  }
  int64_t Rows() const {
    int64_t rows = 0;
    for (const Piece& piece : pieces) rows += piece.rows;
    return rows;
  }
  int64_t Positions() const {
    int64_t positions = 0;
    for (const Piece& piece : pieces) positions = std::max(positions, piece.start + piece.rows);
    return positions;
  }
  int64_t Width() const { return (heads + 2 * kv.kv_heads) * kv.head_dim; }
  Numbers Rotated() const { return Normals(DType::kF32, {Rows(), Width()}, 1); }
  Numbers Cos() const {
    return {DType::kF32, {Positions(), kv.head_dim / 2}, [](int64_t i) {
              return std::cos(static_cast<double>(i));
            }};
  }
  Numbers Sin() const {
    return {DType::kF32, {Positions(), kv.head_dim / 2}, [](int64_t i) {
              return std::sin(static_cast<double>(i));
            }};
  }

  void Place(Stage& stage) const override {
    const Sequences sequences(stage, kv, pieces);
    const int64_t q_width = heads * kv.head_dim, kv_width = kv.kv_heads * kv.head_dim;
    const View before = stage.In(Normals(DType::kF32, {Positions(), kv_width}, 2).view());
    for (size_t i = 0; i < pieces.size(); i++) {
      const KvBatch& history = sequences.MakeHistory(stage, i);
      const View rows = before.Rows(0, history.rows());
      stage.queue().StoreKv(rows, rows, history, kLayer);
    }
    const View all = stage.InOut(Rotated().view(), {0, 3});
    const View q = all.Columns(0, q_width), k = all.Columns(q_width, kv_width),
               v = all.Columns(q_width + kv_width, kv_width);
    const View cos = stage.In(Cos().view()), sin = stage.In(Sin().view());
    const View y = stage.Out(DType::kF32, {Rows(), q_width}), z = stage.Out(DType::kF32, {Rows(), q_width});
    const KvBatch& batch = sequences.batch();
    stage.op = [=, &batch](Queue& queue) { queue.RopeStoreKv(q, k, v, batch, cos, sin, kLayer); };
    stage.look = [=, &batch](Queue& queue) {
      queue.Attend(q, batch, kLayer, y);
      queue.StoreKv(k, v, batch, kLayer);
      queue.Attend(q, batch, kLayer, z);
    };
  }
  // Two products and their sum.
  double WorstShare(const std::vector<Tensor>& got, Device&) const override {
    const Numbers x = Rotated(), cos = Cos(), sin = Sin();
    const int64_t dim = kv.head_dim, half = dim / 2, all_heads = heads + 2 * kv.kv_heads;
    double worst = SameBytes(got[1].view(), got[2].view());
    int64_t row = 0;
    for (const Piece& piece : pieces) {
      for (int64_t r = 0; r < piece.rows; r++, row++) {
        for (int64_t i = 0; i < all_heads * half; i++) {
          const bool rotates = i / half < heads + kv.kv_heads;
          const int64_t low = (row * all_heads + i / half) * dim + i % half, high = low + half;
          const double c = rotates ? cos[(piece.start + r) * half + i % half] : 1,
                       s = rotates ? sin[(piece.start + r) * half + i % half] : 0;
          const auto check = [&](int64_t at, double a, double b) {
            worst = Worse(worst,
                          Share(got[0].as<float>()[at], a + b, 3 * kEpsilon * (std::fabs(a) + std::fabs(b))));
          };
          check(low, x[low] * c, -x[high] * s);
          check(high, x[high] * c, x[low] * s);
        }
      }
    }
    return worst;
  }
};

// ---- Attend -------------------------------------------------------------------------------------

struct AttendCase : Case {
  int64_t heads;
  KvShape kv;
  std::vector<Piece> pieces;
  static constexpr int64_t kLayer = 1;  // of three: beside its keys and values are others

  AttendCase(int64_t h, int64_t kv_heads, int64_t dim, DType type, int64_t page_positions,
             std::vector<Piece> p)
      : heads(h), kv{3, kv_heads, dim, page_positions, type}, pieces(std::move(p)) {
    op = "Attend";
    int64_t rows = 0;
    for (const Piece& piece : pieces) {
      rows += piece.rows;
      bytes += static_cast<double>(kv.Bytes(piece.start + piece.rows)) / static_cast<double>(kv.layers);
      for (int64_t r = 0; r < piece.rows; r++)
        macs += 2.0 * static_cast<double>((piece.start + r + 1) * heads * dim);
    }
    shape = std::to_string(rows) + " rows of " + std::to_string(pieces.size()) + " sequences, " +
            std::to_string(heads) + "/" + std::to_string(kv_heads) + " heads of " + std::to_string(dim) +
            " " + NameOf(type) + ", up to " + std::to_string(Longest()) + " positions, pages of " +
            std::to_string(page_positions);
  }
  int64_t Longest() const {
    int64_t positions = 0;
    for (const Piece& piece : pieces) positions = std::max(positions, piece.start + piece.rows);
    return positions;
  }

  void Place(Stage& stage) const override {
    const Sequences sequences(stage, kv, pieces);
    const int64_t q_width = heads * kv.head_dim, kv_width = kv.kv_heads * kv.head_dim;
    const int64_t rows = sequences.rows();
    // q, k and v of a row side by side, and something else.
    const View all = stage.In(Normals(DType::kF32, {rows, q_width + 2 * kv_width}, 7).view(), {0, 3});
    const View q = all.Columns(0, q_width), k = all.Columns(q_width, kv_width);
    const View v = all.Columns(q_width + kv_width, kv_width), y = stage.Out(DType::kF32, {rows, q_width});
    const int64_t longest = Longest();
    for (int64_t layer = 0; layer < kv.layers; layer++) {
      const auto seed = static_cast<uint64_t>(100 + layer);
      const View keys = stage.In(Normals(DType::kF32, {longest, kv_width}, seed).view());
      const View values = stage.In(Normals(DType::kF32, {longest, kv_width}, seed + 50).view());
      for (size_t i = 0; i < pieces.size(); i++) {
        const KvBatch& history = sequences.MakeHistory(stage, i);
        stage.queue().StoreKv(keys.Rows(0, history.rows()), values.Rows(0, history.rows()), history, layer);
      }
    }
    stage.queue().StoreKv(k, v, sequences.batch(), kLayer);
    stage.op = [q, y, &batch = sequences.batch()](Queue& queue) { queue.Attend(q, batch, kLayer, y); };
  }

  // Scores: dim roundings of numbers below |q||k|·scale ≤ 6²·√dim (values are below 6), which the exponential
  // turns into relative errors of the weights; then sums over all positions of values below 6. Both sides.
  double WorstShare(const std::vector<Tensor>& got, Device& reference) const override {
    const Outcome wanted = RunOn(reference, *this);
    const double dim = static_cast<double>(kv.head_dim), positions = static_cast<double>(Longest());
    const double score_error = 2 * (dim + 2) * kEpsilon * 36 * std::sqrt(dim);
    const double allowed = 6 * (2 * score_error + 2 * (positions + 8) * kEpsilon);
    double worst = 0, errors = 0, squares = 0;
    for (int64_t i = 0; i < got[0].shape().elements(); i++) {
      const double y = got[0].as<float>()[i], w = wanted.results[0].as<float>()[i];
      worst = Worse(worst, Share(y, w, allowed));
      errors += (y - w) * (y - w), squares += w * w;
    }
    // That is the worst case; on average errors stay far below half an ulp of bf16, so that no rounding to it
    // that nobody asked for goes unseen.
    return Worse(worst, std::sqrt(errors / squares) / 1e-5);
  }
};

}  // namespace

void AddAttentionCases(Cases& cases) {
  const std::vector<Piece> ragged{{1, 0}, {1, 49}, {3, 7}, {2, 30}};
  for (const DType type : {DType::kF32, DType::kBF16}) {
    for (const int64_t dim : {2, 6, 64, 128})
      cases.push_back(std::make_unique<RopeStoreKvCase>(3, 3, dim, type, ragged));
    cases.push_back(std::make_unique<RopeStoreKvCase>(6, 2, 40, type, ragged));
  }
  for (const int64_t dim : {32, 64, 96, 128})
    cases.push_back(std::make_unique<RopeStoreKvCase>(6, 2, dim, DType::kQ8_0, ragged));

  // A prompt from 0, a window after 137 positions, one token after 70. Pages of powers of two, of others, and
  // one for all.
  const std::vector<Piece> pieces{{3, 137}, {1, 70}, {33, 0}};
  constexpr struct {
    int64_t heads, kv_heads, dim;
    DType type;
  } kShapes[] = {{4, 4, 64, DType::kF32},   {4, 4, 128, DType::kBF16}, {6, 2, 40, DType::kBF16},
                 {5, 1, 17, DType::kF32},   {36, 2, 16, DType::kF32},  {8, 8, 3, DType::kBF16},
                 {2, 2, 136, DType::kF32},  {4, 2, 64, DType::kBF16},  {4, 4, 64, DType::kQ8_0},
                 {2, 2, 128, DType::kQ8_0}, {36, 2, 32, DType::kQ8_0}, {3, 1, 96, DType::kQ8_0},
                 {2, 1, 160, DType::kQ8_0}};
  for (const auto& [heads, kv_heads, dim, type] : kShapes) {
    for (const int64_t page_positions : {32, 64, 96, 224}) {
      cases.push_back(std::make_unique<AttendCase>(heads, kv_heads, dim, type, page_positions, pieces));
    }
  }

  // Janus-Pro 1B and 7B near a picture's end: two rows, and 16 pictures'; a prompt of 128 tokens.
  for (const int64_t heads : {16, 32}) {
    for (const DType type : {DType::kF32, DType::kBF16, DType::kQ8_0}) {
      for (const std::vector<Piece>& published :
           {std::vector<Piece>(2, {1, 599}), std::vector<Piece>(32, {1, 599}),
            std::vector<Piece>{{128, 0}}}) {
        cases.push_back(std::make_unique<AttendCase>(heads, heads, 128, type, 64, published));
        cases.back()->published = true;
      }
    }
    cases.push_back(
        std::make_unique<RopeStoreKvCase>(heads, heads, 128, DType::kBF16, std::vector<Piece>(32, {1, 599})));
    cases.back()->published = true;
  }
}

}  // namespace bifrons::op_matrix
