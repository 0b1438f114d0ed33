#include "kernels/cuda/linear.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/cuda/decode_tiles.cuh"
#include "kernels/cuda/prefill_tiles.cuh"
#include "kernels/cuda/products.cuh"

namespace bifrons::cuda {
namespace {

// A part to its rows of the matrix. As it is where it can be, for weights are large; else row by row.
void BringPart(DeviceMemory& memory, const TensorView& part, const CudaLinear& linear, uint8_t* to) {
  if (part.dtype == linear.stored && linear.stride == linear.in) {
    return memory.Bring(part.data, part.bytes(), to);
  }
  constexpr size_t kBytesAtOnce = size_t{4} << 20;
  const size_t size = BytesOf(linear.stored, 1), row_bytes = static_cast<size_t>(linear.stride) * size;
  const auto rows_at_once = static_cast<int64_t>(std::max<size_t>(1, kBytesAtOnce / row_bytes));
  const int64_t rows = part.shape[0], in = linear.in;
  std::vector<uint8_t> padded;
  for (int64_t first = 0; first < rows; first += rows_at_once) {
    const int64_t count = std::min(rows_at_once, rows - first);
    padded.assign(static_cast<size_t>(count) * row_bytes, 0);
    for (int64_t r = 0; r < count; r++) {
      uint8_t* row = padded.data() + static_cast<size_t>(r) * row_bytes;
      const int64_t at = (first + r) * in;
      if (part.dtype == linear.stored) {
        std::memcpy(row, static_cast<const uint8_t*>(part.data) + static_cast<size_t>(at) * size,
                    static_cast<size_t>(in) * size);
      } else {
        for (int64_t i = 0; i < in; i++) reinterpret_cast<float*>(row)[i] = ElementAt(part, at + i);
      }
    }
    memory.Bring(padded.data(), padded.size(), to + static_cast<size_t>(first) * row_bytes);
  }
}

// Rows of a part to its tiles, by way of the GPU.
void RepackPart(DeviceMemory& memory, const TensorView& part, const CudaLinear& linear, uint8_t* to) {
  constexpr int64_t kBytesAtOnce = int64_t{32} << 20;
  const int64_t row_bytes = linear.in * static_cast<int64_t>(sizeof(BF16)), depth = linear.stride / kTileSide;
  const int64_t rows_at_once = std::max<int64_t>(1, kBytesAtOnce / row_bytes / kTileSide) * kTileSide;
  const CudaBuffer staged(memory, static_cast<size_t>(std::min(rows_at_once, part.shape[0]) * row_bytes),
                          "weights on their way");
  const OwnStream stream(memory);
  for (int64_t first = 0; first < part.shape[0]; first += rows_at_once) {
    const int64_t count = std::min(rows_at_once, part.shape[0] - first);
    memory.Bring(static_cast<const uint8_t*>(part.data) + first * row_bytes,
                 static_cast<size_t>(count * row_bytes), staged.data());
    Launch(RepackTiles, Blocks(count / kTileSide * depth * kWarp, kRepackThreads), kRepackThreads, 0,
           stream.get(), reinterpret_cast<const BF16*>(staged.data()), count, linear.in, depth,
           reinterpret_cast<uint4*>(to + first * linear.stride * static_cast<int64_t>(sizeof(BF16))));
    Check(cudaStreamSynchronize(stream.get()), "packing weights");
  }
}

Results ResultsOf(const CudaLinear& linear, int64_t rows, Epilogue epilogue, const View& y) {
  return {.bias = linear.bias ? reinterpret_cast<const float*>(linear.bias->data()) : nullptr,
          .out = linear.out,
          .rows = rows,
          .epilogue = epilogue,
          .y = At<float>(y)};
}

template <class W>
void MultiplyStored(cudaStream_t stream, const CudaLinear& linear, const View& x, const RowNorm& norm,
                    RowClass row_class, Epilogue epilogue, const View& y) {
  const bool silu_mul = epilogue == Epilogue::kSiluMul;
  const Product<W> product{.weights = reinterpret_cast<const W*>(linear.numbers->data()),
                           .stride = linear.stride,
                           .in = linear.in,
                           .x = At<float>(x),
                           .x_aligned = Aligned16(x),
                           .round_x = linear.compute == DType::kBF16,
                           .norm = norm,
                           .results = ResultsOf(linear, x.rows(), epilogue, y)};
  const int64_t columns = silu_mul ? (linear.out / 2 + 1) / 2 * 4 : linear.out;
  const auto blocks = [&](int64_t rows_each, int64_t columns_each) {
    return Blocks(columns, columns_each) * Blocks(x.rows(), rows_each);
  };
  if (row_class == RowClass::kPrefill) {
    Launch(PrefillProduct<W>, blocks(kPrefillTile, kPrefillTile), kPrefillThreads, 0, stream, product);
  } else if (x.rows() == 1) {
    Launch(DecodeProduct<W, 1>, blocks(1, kDecodeColumns), kDecodeThreads, 0, stream, product);
  } else if (x.rows() == 2) {
    Launch(DecodeProduct<W, 2>, blocks(2, kDecodeColumns), kDecodeThreads, 0, stream, product);
  } else if (x.rows() <= 4) {
    Launch(DecodeProduct<W, 4>, blocks(4, kDecodeColumns), kDecodeThreads, 0, stream, product);
  } else {
    Launch(DecodeProduct<W, 8>, blocks(8, kDecodeColumns), kDecodeThreads, 0, stream, product);
  }
}

// Numbers that DecodeTiles reads by 16 bytes: where those of a view cannot be read so, as no model has them,
// a copy that can.
bool IsDirect(const View& x, const RowNorm& norm) {
  return Aligned16(Bytes(x)) && (!norm.exists() || norm.aligned);
}
const float* Copied(cudaStream_t stream, const float* from, int64_t count, float* to) {
  Check(
      cudaMemcpyAsync(to, from, static_cast<size_t>(count) * sizeof(float), cudaMemcpyDeviceToDevice, stream),
      "rows of a product");
  return to;
}

template <class Block, bool kNormed>
void MultiplyInBlocks(cudaStream_t stream, const TileProduct& product, const float* x) {
  const dim3 blocks(Blocks(product.tiles(), Block::kTiles), Blocks(product.results.rows, Block::kRows));
  Launch(DecodeTiles<Block, kNormed>, blocks, kDecodeTileThreads, 0, stream, product, x);
}

// There have to be blocks for all of the GPU, so those of narrow matrices are of few columns. Those of wide
// ones are of more the more rows there are, since every block reads the rows.
void MultiplyFewRows(cudaStream_t stream, const TileProduct& product, const float* x) {
  constexpr int64_t kNarrow = 264, kMiddling = 528;  // tiles: 2 or 4 for each of 132 multiprocessors
  const int64_t tiles = product.tiles(), rows = product.results.rows;
  if (product.norm.exists()) {
    if (rows <= kTileRows) return MultiplyInBlocks<DecodeBlock<1, 2, 4>, true>(stream, product, x);
    if (rows <= 2 * kTileRows) return MultiplyInBlocks<DecodeBlock<2, 2, 3>, true>(stream, product, x);
    if (tiles <= kMiddling) return MultiplyInBlocks<DecodeBlock<4, 2, 2>, true>(stream, product, x);
    return MultiplyInBlocks<DecodeBlock<4, 4, 1>, true>(stream, product, x);
  }
  if (tiles <= kNarrow && !product.results.is_gated()) {
    if (rows <= kTileRows) return MultiplyInBlocks<DecodeBlock<1, 1, 8>, false>(stream, product, x);
    if (rows <= 2 * kTileRows) return MultiplyInBlocks<DecodeBlock<2, 1, 4>, false>(stream, product, x);
    return MultiplyInBlocks<DecodeBlock<4, 1, 3>, false>(stream, product, x);
  }
  if (rows <= kTileRows) return MultiplyInBlocks<DecodeBlock<1, 2, 4>, false>(stream, product, x);
  if (rows <= 2 * kTileRows) return MultiplyInBlocks<DecodeBlock<2, 2, 3>, false>(stream, product, x);
  MultiplyInBlocks<DecodeBlock<4, 4, 1>, false>(stream, product, x);
}

template <class Block>
int64_t BlocksOf(const TileProduct& product) {
  return int64_t{Blocks(product.results.rows, Block::kRows)} *
         Blocks(product.results.out / (2 * kTileSide), Block::kPairs);
}

template <class Block>
void MultiplyInBlocks(cudaStream_t stream, const TileProduct& product, const uint4* x) {
  const dim3 blocks(Blocks(product.results.rows, Block::kRows),
                    Blocks(product.results.out / (2 * kTileSide), Block::kPairs));
  Launch(PrefillTiles<Block>, blocks, Block::kThreads, Block::kShared, stream, product, x);
}

template <bool kAligned>
void Round(cudaStream_t stream, const float* x, int64_t rows, int64_t in, uint4* to) {
  const dim3 blocks(Blocks(in / kTileSide, kRoundThreads / kWarp), Blocks(rows, kRowsOfTiles));
  Launch(RoundRows<kAligned>, blocks, kRoundThreads, 0, stream, x, rows, in, to);
}

// Large blocks read least, where there are enough of them for the multiprocessors of a large GPU. Whatever
// the block, the sums are the same.
void MultiplyManyRows(cudaStream_t stream, const TileProduct& product, const View& x, uint4* scratch) {
  constexpr int64_t kEnough = 84;
  (Aligned16(x) ? Round<true> : Round<false>)(stream, At<float>(x), x.rows(), product.in, scratch);
  if (x.rows() > MediumPrefillBlock::kRows && BlocksOf<LargePrefillBlock>(product) >= kEnough) {
    MultiplyInBlocks<LargePrefillBlock>(stream, product, scratch);
  } else if (BlocksOf<MediumPrefillBlock>(product) >= kEnough) {
    MultiplyInBlocks<MediumPrefillBlock>(stream, product, scratch);
  } else if (BlocksOf<SmallPrefillBlock>(product) >= kEnough) {
    MultiplyInBlocks<SmallPrefillBlock>(stream, product, scratch);
  } else {
    MultiplyInBlocks<ThinPrefillBlock>(stream, product, scratch);
  }
}

void AllowBlocks() {
  AllowShared(PrefillTiles<LargePrefillBlock>, LargePrefillBlock::kShared);
  AllowShared(PrefillTiles<MediumPrefillBlock>, MediumPrefillBlock::kShared);
  AllowShared(PrefillTiles<SmallPrefillBlock>, SmallPrefillBlock::kShared);
  AllowShared(PrefillTiles<ThinPrefillBlock>, ThinPrefillBlock::kShared);
}

void MultiplyTiles(cudaStream_t stream, const CudaLinear& linear, const View& x, const RowNorm& norm,
                   RowClass row_class, Epilogue epilogue, BF16* scratch, const View& y) {
  TileProduct product{.weights = reinterpret_cast<const uint4*>(linear.numbers->data()),
                      .depth = linear.in / kTileSide,
                      .in = linear.in,
                      .norm = norm,
                      .results = ResultsOf(linear, x.rows(), epilogue, y)};
  if (row_class == RowClass::kPrefill) {
    MultiplyManyRows(stream, product, x, reinterpret_cast<uint4*>(scratch));
  } else if (IsDirect(x, norm)) {
    MultiplyFewRows(stream, product, At<float>(x));
  } else {
    auto* room = reinterpret_cast<float*>(scratch);
    const float* rows = Copied(stream, At<float>(x), x.shape.elements(), room);
    if (norm.exists())
      product.norm.weight = Copied(stream, norm.weight, linear.in, room + x.shape.elements());
    MultiplyFewRows(stream, product, rows);
  }
}

}  // namespace

std::unique_ptr<Linear> PackLinear(DeviceMemory& memory, bool has_tiles, std::span<const TensorView> parts,
                                   TensorView bias, DType compute) {
  BIFRONS_CHECK(!parts.empty());
  auto linear = std::make_unique<CudaLinear>();
  linear->in = parts[0].shape[1];
  linear->compute = compute;
  linear->stored = parts[0].dtype;
  bool whole_tiles = true;
  for (const TensorView& part : parts) {
    BIFRONS_CHECK(part.shape.rank() == 2 && part.shape[1] == linear->in);
    linear->out += part.shape[0];
    whole_tiles &= part.shape[0] % kTileSide == 0;
    if (part.dtype != linear->stored) linear->stored = DType::kF32;
  }
  linear->is_tiles = has_tiles && compute == DType::kBF16 && linear->stored == DType::kBF16 && whole_tiles &&
                     linear->out % (2 * kTileSide) == 0 && linear->in % kTileSide == 0;
  linear->stride = (linear->in + 7) / 8 * 8;
  if (linear->is_tiles) AllowBlocks();
  const size_t row_bytes = static_cast<size_t>(linear->stride) * BytesOf(linear->stored, 1);
  linear->bytes = static_cast<size_t>(linear->out) * row_bytes;
  linear->numbers = std::make_unique<CudaBuffer>(memory, linear->bytes, "weights");
  uint8_t* to = linear->numbers->data();
  for (const TensorView& part : parts) {
    (linear->is_tiles ? RepackPart : BringPart)(memory, part, *linear, to);
    to += static_cast<size_t>(part.shape[0]) * row_bytes;
  }
  if (!bias.empty()) {
    BIFRONS_CHECK(bias.shape.elements() == linear->out);
    const std::vector<float> values = ToFloats(bias);
    const size_t bytes = values.size() * sizeof(float);
    linear->bias = std::make_unique<CudaBuffer>(memory, bytes, "weights");
    memory.Bring(values.data(), bytes, linear->bias->data());
    linear->bytes += bytes;
  }
  return linear;
}

int64_t MultiplyScratch(const CudaLinear& linear, const View& x, const RowNorm& norm, RowClass row_class) {
  if (!linear.is_tiles) return 0;
  if (row_class == RowClass::kPrefill)
    return (x.rows() + kRowsOfTiles - 1) / kRowsOfTiles * kRowsOfTiles * linear.in;
  return IsDirect(x, norm) ? 0 : (x.shape.elements() + linear.in) * 2;
}

void Multiply(cudaStream_t stream, const CudaLinear& linear, const View& x, const RowNorm& norm,
              RowClass row_class, Epilogue epilogue, BF16* scratch, const View& y) {
  BIFRONS_CHECK(norm.weight == nullptr || row_class == RowClass::kDecode);
  if (linear.is_tiles) return MultiplyTiles(stream, linear, x, norm, row_class, epilogue, scratch, y);
  switch (linear.stored) {
    case DType::kF32:
      return MultiplyStored<float>(stream, linear, x, norm, row_class, epilogue, y);
    case DType::kBF16:
      return MultiplyStored<BF16>(stream, linear, x, norm, row_class, epilogue, y);
    case DType::kF16:
      return MultiplyStored<F16>(stream, linear, x, norm, row_class, epilogue, y);
    case DType::kI32:
    case DType::kU8:
      BIFRONS_CHECK(false, "a matrix of integers");
  }
}

}  // namespace bifrons::cuda
