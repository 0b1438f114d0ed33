#include "kernels/cuda/block_linear.h"

#include <algorithm>

#include "kernels/cuda/block_products.cuh"

namespace bifrons::cuda {
namespace {

int64_t RoundedUp(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

template <class B>
BlockMatrix<B> MatrixOf(const CudaRows& weights) {
  const int64_t groups = weights.in / kGroupOf,
                tiles = RoundedUp(groups, kGroupsOfBlockTile) / kGroupsOfBlockTile;
  const auto* bytes = weights.numbers->data();
  return {.steps = reinterpret_cast<const uint4*>(bytes),
          .scales = reinterpret_cast<const ScaleOfGroup<B>*>(bytes + weights.scales_at),
          .groups = static_cast<int>(groups),
          .tiles = static_cast<int>(tiles)};
}

// Blocks to tiles, by way of the GPU.
template <class B>
void Pack(DeviceMemory& memory, std::span<const TensorView> parts, CudaRows& to) {
  constexpr int64_t kBytesAtOnce = int64_t{32} << 20;
  const int64_t rows = RoundedUp(to.out, kRowsOfBlockTile);
  const int64_t groups = RoundedUp(to.in / kGroupOf, kGroupsOfBlockTile);
  to.scales_at = static_cast<size_t>(rows * groups) * kVectorsOfGroup<B> * sizeof(uint4);
  const int64_t scales = kHasMinima<B> ? rows * groups / BlockQ4_K::kGroups : rows * groups;
  to.bytes = to.scales_at + static_cast<size_t>(scales) * sizeof(ScaleOfGroup<B>);
  to.numbers = std::make_unique<CudaBuffer>(memory, to.bytes, "weights");
  const BlockMatrix<B> matrix = MatrixOf<B>(to);

  const int64_t blocks_of_row = to.in / B::kValues,
                row_bytes = blocks_of_row * static_cast<int64_t>(sizeof(B));
  const int64_t rows_at_once = std::max<int64_t>(1, kBytesAtOnce / row_bytes);
  const CudaBuffer staged(memory, static_cast<size_t>(std::min(rows_at_once, to.out) * row_bytes),
                          "weights on their way");
  const OwnStream stream(memory);
  int64_t first = 0;  // of a part
  for (const TensorView& part : parts) {
    for (int64_t row = 0; row < part.shape[0]; row += rows_at_once) {
      const int64_t count = std::min(rows_at_once, part.shape[0] - row);
      memory.Bring(static_cast<const uint8_t*>(part.data) + row * row_bytes,
                   static_cast<size_t>(count * row_bytes), staged.data());
      Launch(RepackBlocks<B>, Blocks(count * groups, kRepackBlockThreads), kRepackBlockThreads, 0,
             stream.get(), reinterpret_cast<const B*>(staged.data()), count, first + row, matrix,
             const_cast<uint4*>(matrix.steps), const_cast<ScaleOfGroup<B>*>(matrix.scales));
      Check(cudaStreamSynchronize(stream.get()), "packing weights");
    }
    first += part.shape[0];
  }
}

QuantizedRows RowsAt(uint8_t* at, int64_t rows, int64_t in) {
  return {.steps = reinterpret_cast<uint4*>(at), .groups = reinterpret_cast<uint2*>(at + rows * in)};
}

template <class B, int kRows, int kTiles>
void MultiplyRows(cudaStream_t stream, const BlockProduct<B>& product) {
  const Results& results = product.results;
  const int64_t columns =
      results.is_gated() ? RoundedUp(results.out / 2, kTiles * kRowsOfBlockTile / 2) * 2 : results.out;
  const unsigned blocks = Blocks(columns, kTiles * kRowsOfBlockTile) * Blocks(results.rows, kRows);
  Launch(MultiplyBlocks<B, kRows, kTiles>, blocks, kBlockProductThreads, 0, stream, product);
}

// There have to be blocks of threads for all of the GPU; beyond that wider ones read the rows less often.
template <class B, int kRows>
void MultiplyRows(cudaStream_t stream, const BlockProduct<B>& product) {
  constexpr int64_t kNarrow =
      4096;  // columns: 16 for each of 264 blocks, two of a multiprocessor of a large GPU
  if (product.results.out <= kNarrow) return MultiplyRows<B, kRows, 1>(stream, product);
  MultiplyRows<B, kRows, 2>(stream, product);
}

template <class B>
void MultiplyAs(cudaStream_t stream, const CudaRows& weights, uint8_t* x, const Results& results) {
  const BlockProduct<B> product{
      .matrix = MatrixOf<B>(weights), .x = RowsAt(x, results.rows, weights.in), .results = results};
  if (results.rows == 1) return MultiplyRows<B, 1>(stream, product);
  if (results.rows == 2) return MultiplyRows<B, 2>(stream, product);
  if (results.rows <= 4) return MultiplyRows<B, 4>(stream, product);
  MultiplyRows<B, 8>(stream, product);
}

}  // namespace

void PackBlocks(DeviceMemory& memory, std::span<const TensorView> parts, CudaRows& to) {
  switch (to.stored) {
    case DType::kQ8_0:
      return Pack<BlockQ8_0>(memory, parts, to);
    case DType::kQ4_0:
      return Pack<BlockQ4_0>(memory, parts, to);
    case DType::kQ4_K:
      return Pack<BlockQ4_K>(memory, parts, to);
    default:
      BIFRONS_CHECK(false, "%s has no blocks", NameOf(to.stored));
  }
}

size_t QuantizedBytes(int64_t rows, int64_t in) {
  return static_cast<size_t>(rows * in) + static_cast<size_t>(rows * in / kGroupOf) * sizeof(uint2);
}

void Quantize(cudaStream_t stream, const View& x, const RowNorm& norm, uint8_t* to) {
  const dim3 blocks(static_cast<unsigned>(x.rows()), Blocks(x.width(), kQuantizedAtOnce));
  Launch(norm.exists() ? QuantizeRows<true> : QuantizeRows<false>, blocks, kQuantizeThreads, 0, stream,
         At<float>(x), Aligned16(x), x.width(), norm, RowsAt(to, x.rows(), x.width()));
}

void MultiplyInBlocks(cudaStream_t stream, const CudaRows& weights, uint8_t* x, const Results& results) {
  switch (weights.stored) {
    case DType::kQ8_0:
      return MultiplyAs<BlockQ8_0>(stream, weights, x, results);
    case DType::kQ4_0:
      return MultiplyAs<BlockQ4_0>(stream, weights, x, results);
    case DType::kQ4_K:
      return MultiplyAs<BlockQ4_K>(stream, weights, x, results);
    default:
      BIFRONS_CHECK(false, "%s has no blocks", NameOf(weights.stored));
  }
}

void Gate(cudaStream_t stream, const float* products, int64_t rows, int64_t width, float* y) {
  Launch(GateRows, Blocks(rows * width, kCopyThreads), kCopyThreads, 0, stream, products, rows, width, y);
}

}  // namespace bifrons::cuda
