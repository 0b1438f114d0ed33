#include "kernels/cuda/linear.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/cuda/block_linear.h"
#include "kernels/cuda/decode_tiles.cuh"
#include "kernels/cuda/prefill_tiles.cuh"
#include "kernels/cuda/products.cuh"

namespace bifrons::cuda {
namespace {

// A part to its rows of the matrix. As it is where it can be, for weights are large; else row by row.
void BringPart(DeviceMemory& memory, const TensorView& part, const CudaRows& linear, uint8_t* to) {
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
void RepackPart(DeviceMemory& memory, const TensorView& part, const CudaRows& linear, uint8_t* to) {
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

// Of a part of the matrix: whole rows of results, `width` apart.
Results ResultsOf(const CudaRows& part, int64_t rows, Epilogue epilogue, float* y, int64_t width) {
  return {.bias = part.bias,
          .out = part.out,
          .rows = rows,
          .epilogue = epilogue,
          .y = y + part.first,
          .stride = width};
}

template <class W>
void MultiplyStored(cudaStream_t stream, const CudaRows& linear, const View& x, const RowNorm& norm,
                    RowClass row_class, const Results& results) {
  const Product<W> product{.weights = reinterpret_cast<const W*>(linear.numbers->data()),
                           .stride = linear.stride,
                           .in = linear.in,
                           .x = At<float>(x),
                           .x_aligned = Aligned16(x),
                           .round_x = linear.compute == DType::kBF16,
                           .norm = norm,
                           .results = results};
  const int64_t columns = results.is_gated() ? (linear.out / 2 + 1) / 2 * 4 : linear.out;
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

void MultiplyTiles(cudaStream_t stream, const CudaRows& linear, const View& x, const RowNorm& norm,
                   RowClass row_class, uint8_t* scratch, const Results& results) {
  TileProduct product{.weights = reinterpret_cast<const uint4*>(linear.numbers->data()),
                      .depth = linear.in / kTileSide,
                      .in = linear.in,
                      .norm = norm,
                      .results = results};
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

// What MultiplyTiles needs for itself.
size_t TilesScratch(const CudaRows& linear, const View& x, const RowNorm& norm, RowClass row_class) {
  if (row_class == RowClass::kPrefill) {
    const int64_t rows = (x.rows() + kRowsOfTiles - 1) / kRowsOfTiles * kRowsOfTiles;
    return static_cast<size_t>(rows * linear.in) * sizeof(BF16);
  }
  return IsDirect(x, norm) ? 0 : static_cast<size_t>(x.shape.elements() + linear.in) * sizeof(float);
}

// Parts that are all of one type, or all plain; `may_be_tiles` if they are the whole matrix.
CudaRows PackRows(DeviceMemory& memory, bool may_be_tiles, std::span<const TensorView> parts, DType compute) {
  CudaRows rows;
  rows.in = parts[0].shape[1];
  rows.compute = compute;
  rows.stored = parts[0].dtype;
  bool whole_tiles = true;
  for (const TensorView& part : parts) {
    rows.out += part.shape[0];
    whole_tiles &= part.shape[0] % kTileSide == 0;
    if (part.dtype != rows.stored) rows.stored = DType::kF32;
  }
  if (IsQuantized(rows.stored)) {
    PackBlocks(memory, parts, rows);
    return rows;
  }
  rows.is_tiles = may_be_tiles && compute == DType::kBF16 && rows.stored == DType::kBF16 && whole_tiles &&
                  rows.out % (2 * kTileSide) == 0 && rows.in % kTileSide == 0;
  rows.stride = (rows.in + 7) / 8 * 8;
  if (rows.is_tiles) AllowBlocks();
  const size_t row_bytes = static_cast<size_t>(rows.stride) * BytesOf(rows.stored, 1);
  rows.bytes = static_cast<size_t>(rows.out) * row_bytes;
  rows.numbers = std::make_unique<CudaBuffer>(memory, rows.bytes, "weights");
  uint8_t* to = rows.numbers->data();
  for (const TensorView& part : parts) {
    (rows.is_tiles ? RepackPart : BringPart)(memory, part, rows, to);
    to += static_cast<size_t>(part.shape[0]) * row_bytes;
  }
  return rows;
}

void MultiplyPlain(cudaStream_t stream, const CudaRows& part, const View& x, const RowNorm& norm,
                   RowClass row_class, uint8_t* scratch, const Results& results) {
  if (part.is_tiles) return MultiplyTiles(stream, part, x, norm, row_class, scratch, results);
  switch (part.stored) {
    case DType::kF32:
      return MultiplyStored<float>(stream, part, x, norm, row_class, results);
    case DType::kBF16:
      return MultiplyStored<BF16>(stream, part, x, norm, row_class, results);
    case DType::kF16:
      return MultiplyStored<F16>(stream, part, x, norm, row_class, results);
    default:
      BIFRONS_CHECK(false, "a matrix of integers");
  }
}

bool HasBlocks(const CudaLinear& linear) {
  return std::any_of(linear.parts.begin(), linear.parts.end(),
                     [](const CudaRows& part) { return IsQuantized(part.stored); });
}

// Of kSiluMul gates and what they gate are results of one part; several parts' products are gated after them.
bool GatesAfter(const CudaLinear& linear, Epilogue epilogue) {
  return epilogue == Epilogue::kSiluMul && linear.parts.size() > 1;
}

}  // namespace

std::unique_ptr<Linear> PackLinear(DeviceMemory& memory, bool has_tiles, std::span<const TensorView> parts,
                                   TensorView bias, DType compute) {
  BIFRONS_CHECK(!parts.empty());
  auto linear = std::make_unique<CudaLinear>();
  linear->in = parts[0].shape[1];
  linear->compute = compute;
  bool all_plain = true;
  for (const TensorView& part : parts) {
    BIFRONS_CHECK(part.shape.rank() == 2 && part.shape[1] == linear->in);
    all_plain &= !IsQuantized(part.dtype);
  }
  for (size_t i = 0; i < parts.size();) {
    size_t same = 1;
    while (i + same < parts.size() && (all_plain || parts[i + same].dtype == parts[i].dtype)) same++;
    CudaRows rows = PackRows(memory, has_tiles && all_plain, parts.subspan(i, same), compute);
    rows.first = linear->out;
    linear->out += rows.out;
    linear->bytes += rows.bytes;
    linear->parts.push_back(std::move(rows));
    i += same;
  }
  if (!bias.empty()) {
    BIFRONS_CHECK(bias.shape.elements() == linear->out);
    const std::vector<float> values = ToFloats(bias);
    const size_t bytes = values.size() * sizeof(float);
    linear->bias = std::make_unique<CudaBuffer>(memory, bytes, "weights");
    memory.Bring(values.data(), bytes, linear->bias->data());
    linear->bytes += bytes;
    for (CudaRows& rows : linear->parts)
      rows.bias = reinterpret_cast<const float*>(linear->bias->data()) + rows.first;
  }
  return linear;
}

bool NormsRows(const CudaLinear& linear, RowClass row_class) {
  return row_class == RowClass::kDecode ||
         std::all_of(linear.parts.begin(), linear.parts.end(),
                     [](const CudaRows& part) { return IsQuantized(part.stored); });
}

size_t MultiplyScratch(const CudaLinear& linear, const View& x, const RowNorm& norm, RowClass row_class,
                       Epilogue epilogue) {
  if (linear.parts[0].is_tiles) return TilesScratch(linear.parts[0], x, norm, row_class);
  const size_t products =
      GatesAfter(linear, epilogue) ? static_cast<size_t>(x.rows() * linear.out) * sizeof(float) : 0;
  return (HasBlocks(linear) ? QuantizedBytes(x.rows(), linear.in) : 0) + products;
}

void Multiply(cudaStream_t stream, const CudaLinear& linear, const View& x, const RowNorm& norm,
              RowClass row_class, Epilogue epilogue, uint8_t* scratch, const View& y) {
  BIFRONS_CHECK(!norm.exists() || NormsRows(linear, row_class));
  const int64_t rows = x.rows();
  const bool gates_after = GatesAfter(linear, epilogue);
  float* products = At<float>(y);
  if (HasBlocks(linear)) {
    Quantize(stream, x, norm, scratch);
    if (gates_after) products = reinterpret_cast<float*>(scratch + QuantizedBytes(rows, linear.in));
  }
  for (const CudaRows& part : linear.parts) {
    const Results results = ResultsOf(part, rows, gates_after ? Epilogue::kNone : epilogue, products,
                                      gates_after ? linear.out : y.width());
    if (IsQuantized(part.stored)) {
      MultiplyInBlocks(stream, part, scratch, results);
    } else {
      MultiplyPlain(stream, part, x, norm, row_class, scratch, results);
    }
  }
  if (gates_after) Gate(stream, products, rows, y.width(), At<float>(y));
}

}  // namespace bifrons::cuda
