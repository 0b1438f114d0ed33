// Products of rows with a matrix on tensor cores: bf16 operands, f32 sums. The matrix stands in memory in the
// order in which they take it, so that a lane's operand is one load of 16 bytes. Every sum's order is the
// matrix's alone; rows are columns of the tiles' products, and know nothing of each other.
#pragma once

#include "kernels/cuda/intrinsics.cuh"
#include "kernels/cuda/results.cuh"
#include "kernels/cuda/row_norm.cuh"

namespace bifrons::cuda {

/// Side of a tile of the matrix, and rows of x that one product of tiles takes.
constexpr int kTileSide = 16, kTileRows = 8;

/// A matrix as tiles [out / 16, depth, 32 lanes] of 16 × 16 numbers, of which a lane's eight stand together:
/// MultiplyTile's a, of which lane l has numbers 4 · (l % 4) … + 3 of rows l / 4 and l / 4 + 8. So x's share
/// of a lane, b, is four neighbours, too; a product of tiles does not mind which of its numbers is which. out
/// is a multiple of 32, so that gates and what they gate are whole tiles.
struct TileProduct {
  const uint4* weights;
  int64_t depth;  // tiles of a row
  int64_t in;
  RowNorm norm;  // of x; of DecodeTiles alone
  Results results;

  __device__ __forceinline__ const uint4* Tile(int64_t number) const {
    return weights + number * depth * kWarp + threadIdx.x % kWarp;
  }
  __host__ __device__ int64_t tiles() const { return results.out / kTileSide; }
  /// In turn come neighbours or, of kSiluMul, gates and what they gate: pairs, either way.
  __device__ __forceinline__ int64_t TileInTurn(int64_t turn) const {
    return results.is_gated() ? turn / 2 + turn % 2 * (tiles() / 2) : turn;
  }
};

// ---- packing ----------------------------------------------------------------------------------------------

constexpr int kRepackThreads = 256;

/// tiles [out / 16, depth, 32] of rows [out, in]. A thread for each of a tile's lanes.
__global__ void __launch_bounds__(kRepackThreads)
    RepackTiles(const BF16* rows, int64_t out, int64_t in, int64_t depth, uint4* tiles) {
  const int64_t i = int64_t{blockIdx.x} * kRepackThreads + threadIdx.x;
  const int64_t tile = i / kWarp, lane = i % kWarp;
  if (tile >= out / kTileSide * depth) return;
  const int64_t row = tile / depth * kTileSide + lane / 4, first = tile % depth * kTileSide + lane % 4 * 4;
  const auto two = [&](int64_t r, int64_t k) {
    const BF16* at = rows + r * in + k;
    return uint32_t{at[0].bits} | uint32_t{at[1].bits} << 16;
  };
  tiles[i] = make_uint4(two(row, first), two(row + 8, first), two(row, first + 2), two(row + 8, first + 2));
}

}  // namespace bifrons::cuda
