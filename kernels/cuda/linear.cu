#include "kernels/cuda/linear.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/cuda/products.cuh"
#include "kernels/cuda/tile_products.cuh"

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

template <int kRowTiles, int kPairs>
void MultiplyFewRows(cudaStream_t stream, const TileProduct& product, const View& x) {
  const dim3 blocks(Blocks(product.results.out / (2 * kTileSide), kPairs),
                    Blocks(x.rows(), kTileRows * kRowTiles));
  const bool x_aligned = Aligned16(x) && Aligned16(product.norm.weight);
  Launch(DecodeTiles<kRowTiles, kPairs>, blocks, kDecodeTileThreads, 0, stream, product, At<float>(x),
         x_aligned);
}

// Numbers of a row of bf16 for PrefillTiles.
int64_t StageStride(const CudaLinear& linear) {
  constexpr int64_t kStage = kStageDepth * kTileSide;
  return (linear.in + kStage - 1) / kStage * kStage;
}

void MultiplyTiles(cudaStream_t stream, const CudaLinear& linear, const View& x, const RowNorm& norm,
                   RowClass row_class, Epilogue epilogue, BF16* scratch, const View& y) {
  const TileProduct product{.weights = reinterpret_cast<const uint4*>(linear.numbers->data()),
                            .depth = linear.stride / kTileSide,
                            .in = linear.in,
                            .norm = norm,
                            .results = ResultsOf(linear, x.rows(), epilogue, y)};
  if (row_class == RowClass::kPrefill) {
    const int64_t stride = StageStride(linear);
    Launch(RoundRows, Blocks(x.rows() * stride / 2, kRepackThreads), kRepackThreads, 0, stream, At<float>(x),
           x.rows(), linear.in, stride, reinterpret_cast<uint32_t*>(scratch));
    const dim3 blocks(Blocks(x.rows(), kPrefillRows), Blocks(linear.out / (2 * kTileSide), kPrefillPairs));
    Launch(PrefillTiles, blocks, kPrefillTileThreads, 0, stream, product, scratch, stride);
  } else if (x.rows() <= kTileRows) {
    MultiplyFewRows<1, 1>(stream, product, x);
  } else if (x.rows() <= 2 * kTileRows) {
    MultiplyFewRows<2, 2>(stream, product, x);
  } else {
    MultiplyFewRows<4, 2>(stream, product, x);
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
                     linear->out % (2 * kTileSide) == 0;
  const int64_t unit = linear->is_tiles ? kTileSide : 8;
  linear->stride = (linear->in + unit - 1) / unit * unit;
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

int64_t MultiplyScratch(const CudaLinear& linear, int64_t rows, RowClass row_class) {
  return linear.is_tiles && row_class == RowClass::kPrefill ? rows * StageStride(linear) : 0;
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
