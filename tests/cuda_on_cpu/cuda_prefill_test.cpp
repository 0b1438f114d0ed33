// A product of many rows does not depend on the blocks that make it, which are chosen by its size: not one
// bit.
#include <catch2/catch.hpp>

#include "kernels/cuda/prefill_tiles.cuh"
#include "kernels/op_matrix/numbers.h"
#include "tests/cuda_on_cpu/numbers.h"

namespace bifrons::cuda {
namespace {

template <class T>
std::vector<T> Values(const op_matrix::Numbers& numbers) {
  const TensorView view = numbers.view();
  return {view.as<T>(), view.as<T>() + view.shape.elements()};
}

struct Product {
  int64_t rows, out, in;
  Epilogue epilogue;
  bool has_bias;
};

template <class Block>
std::vector<float> Made(const Product& p, int64_t first_row) {
  const Stream stream;
  const int64_t depth = p.in / kTileSide, rows = p.rows - first_row;
  const Numbers<BF16> weights(Values<BF16>(op_matrix::Weights(DType::kBF16, {p.out, p.in}, 1)));
  const Numbers<float> x(Values<float>(op_matrix::Normals(DType::kF32, {p.rows, p.in}, 2)));
  const Numbers<float> bias(Values<float>(op_matrix::Normals(DType::kF32, {p.out}, 3)));
  const Numbers<float> y(Values<float>(op_matrix::Normals(DType::kF32, {p.rows, p.out}, 4)));
  const Numbers<uint4> tiles(static_cast<size_t>(p.out * p.in / 8));
  const Numbers<uint4> packed(static_cast<size_t>(Blocks(rows, kRowsOfTiles) * depth * kWarp));
  Launch(RepackTiles, Blocks(p.out / kTileSide * depth * kWarp, kRepackThreads), kRepackThreads, 0, stream,
         weights.data(), p.out, p.in, depth, tiles.data());
  const dim3 rounds(Blocks(depth, kRoundThreads / kWarp), Blocks(rows, kRowsOfTiles));
  Launch(RoundRows<true>, rounds, kRoundThreads, 0, stream, x.data() + first_row * p.in, rows, p.in,
         packed.data());
  const TileProduct product{.weights = tiles.data(),
                            .depth = depth,
                            .in = p.in,
                            .norm = {},
                            .results = {.bias = p.has_bias ? bias.data() : nullptr,
                                        .out = p.out,
                                        .rows = rows,
                                        .epilogue = p.epilogue,
                                        .y = y.data(),
                                        .stride = p.out}};
  AllowShared(PrefillTiles<Block>, Block::kShared);
  const dim3 blocks(Blocks(rows, Block::kRows), Blocks(p.out / (2 * kTileSide), Block::kPairs));
  Launch(PrefillTiles<Block>, blocks, Block::kThreads, Block::kShared, stream, product, packed.data());
  std::vector<float> made = y.Fetch(stream);
  made.resize(static_cast<size_t>(rows * (p.epilogue == Epilogue::kSiluMul ? p.out / 2 : p.out)));
  return made;
}

// An odd depth, pairs of tiles and rows beyond the last whole block of every kind.
TEST_CASE("a product of many rows has the same bits in every block") {
  for (const Epilogue epilogue : {Epilogue::kNone, Epilogue::kAdd, Epilogue::kGelu, Epilogue::kSiluMul}) {
    for (const bool has_bias : {false, true}) {
      const Product p{150, 160, 176, epilogue, has_bias};
      INFO(static_cast<int>(epilogue) << " " << has_bias);
      const std::vector<float> wanted = Made<ThinPrefillBlock>(p, 0);
      CHECK((Made<SmallPrefillBlock>(p, 0) == wanted));
      CHECK((Made<MediumPrefillBlock>(p, 0) == wanted));
      CHECK((Made<LargePrefillBlock>(p, 0) == wanted));
      if (epilogue == Epilogue::kAdd) continue;  // of y's other rows
      const std::vector<float> last = Made<LargePrefillBlock>(p, 147);
      CHECK((std::vector<float>(wanted.end() - static_cast<int64_t>(last.size()), wanted.end()) == last));
    }
  }
}

}  // namespace
}  // namespace bifrons::cuda
