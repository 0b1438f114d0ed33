// Batches, and attention with what it needs, as launches.
#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/full_attention.cuh"
#include "kernels/cuda/queue.h"

namespace bifrons::cuda {
namespace {

// What attention's shares of spans may take: many rows go in several turns.
constexpr int64_t kShareBytes = int64_t{64} << 20;

// Lanes that read a head's numbers: heads of 128 of bf16 or q8_0 and of 64 of f32 take 16, of 64 of bf16 8.
constexpr int kManyLanes = 16, kFewLanes = 8;

const CudaKvBatch& Cuda(const KvBatch& batch) { return static_cast<const CudaKvBatch&>(batch); }

template <class T>
PagedKeys<T> KeysOf(const CudaKvBatch& batch, int64_t layer) {
  const CudaKvPages& pages = batch.cuda_pages();
  const size_t keys = pages.layer_offset(layer);
  return {batch.places(), static_cast<int64_t>(keys), static_cast<int64_t>(keys + pages.half_bytes()),
          static_cast<int32_t>(pages.shape().page_positions),
          static_cast<int64_t>(pages.row_bytes() / sizeof(T))};
}

// Tiles of some rows, in order, of which each sees at most so many positions.
struct Tiling {
  std::span<const KvTile> tiles;
  int32_t tile_rows;
  int64_t rows, positions;
  int64_t heads, dim;

  int64_t spans() const { return (positions + kSpan - 1) / kSpan; }
  int64_t share_floats() const { return heads * spans() * (dim + 2); }  // of a row
  int64_t rows_at_once() const {
    const int64_t fit = kShareBytes / static_cast<int64_t>(sizeof(float)) / share_floats();
    return std::min(rows, std::max<int64_t>(fit, tile_rows));
  }
  int64_t scratch_floats() const { return rows_at_once() * share_floats(); }
  int64_t counters() const { return std::ssize(tiles) * heads; }
};

// Where shares are made and counted.
struct Workplace {
  cudaStream_t stream;
  float* scratch;
  unsigned* counters;
};

template <class Compute, int kRows, int kLanes, class Q, class Source>
void AttendTiles(const Workplace& work, const Tiling& tiling, const Queries<Q>& q, const Source& source,
                 Q* y) {
  const int64_t count = std::ssize(tiling.tiles), heads = tiling.heads, spans = tiling.spans();
  BIFRONS_CHECK(heads <= kMaxGridYz && spans <= kMaxGridYz, "%lld heads, %lld spans",
                static_cast<long long>(heads), static_cast<long long>(spans));
  for (int64_t first = 0, end = 0; first < count; first = end) {
    const int64_t first_row = tiling.tiles[static_cast<size_t>(first)].first_row;
    int64_t rows = 0;
    for (end = first; end < count; end++) {
      const int64_t more = tiling.tiles[static_cast<size_t>(end)].rows;
      if (rows + more > tiling.rows_at_once()) break;
      rows += more;
    }
    const int64_t shares = rows * heads * spans;
    const Shares of_spans{work.scratch + 2 * shares,
                          reinterpret_cast<float2*>(work.scratch),
                          work.counters,
                          first_row,
                          heads,
                          spans,
                          tiling.dim};
    Launch(
        AttendSpans<Q, Source, Compute, kRows, kLanes>,
        dim3(static_cast<unsigned>(end - first), static_cast<unsigned>(heads), static_cast<unsigned>(spans)),
        kSpan, 0, work.stream, q, source, first, of_spans, y);
  }
}

template <int kLanes, class T>
void AttendPages(const Workplace& work, const Tiling& tiling, const Queries<float>& q,
                 const PagedKeys<T>& source, float* y) {
  // Whatever the pages hold, q and the weights stay f32: a cache's type is a storage type.
  if (tiling.tile_rows == 1) {
    AttendTiles<float, 1, kLanes>(work, tiling, q, source, y);
  } else {
    AttendTiles<float, CudaKvBatch::kTileRows, kLanes>(work, tiling, q, source, y);
  }
}

// Bytes of a head whose numbers begin at a multiple of 16 bytes.
int64_t HeadBytes(DType type, int64_t dim) {
  return (static_cast<int64_t>(BytesOf(type, dim)) + 15) / 16 * 16;
}

// Keys or values [rows, heads · dim] to [rows, heads], HeadBytes each.
void MakeRoom(cudaStream_t stream, const View& from, const FullAttention& attention, uint8_t* to) {
  const auto bytes = static_cast<size_t>(HeadBytes(from.type, attention.head_dim));
  const size_t dim_bytes = BytesOf(from.type, attention.head_dim),
               heads = static_cast<size_t>(attention.heads);
  for (size_t head = 0; head < heads; head++) {
    Check(cudaMemcpy2DAsync(to + head * bytes, heads * bytes, Bytes(from) + head * dim_bytes,
                            std::max(from.stride_bytes(), from.row_bytes()), dim_bytes,
                            static_cast<size_t>(from.rows()), cudaMemcpyDeviceToDevice, stream),
          "a copy of heads");
  }
}

// Keys and values stand as HeadBytes asks for, from one row to the next `row` bytes apart.
struct Placed {
  const uint8_t *k, *v;
  int64_t row;
};

template <class T, class Compute>
void AttendRows(const Workplace& work, const Tiling& tiling, const View& q, const Placed& placed, float scale,
                const View& y) {
  constexpr int64_t kBytes = sizeof(T);
  const bool aligned = Aligned16(q) && tiling.dim % kPerVector<T> == 0;
  const Queries<T> queries{At<T>(q), q.stride, aligned, 1, scale};
  const RowKeys<T> source{reinterpret_cast<const T*>(placed.k), reinterpret_cast<const T*>(placed.v),
                          placed.row / kBytes, HeadBytes(q.type, tiling.dim) / kBytes, tiling.rows};
  AttendTiles<Compute, RowKeys<T>::kTileRows, kManyLanes>(work, tiling, queries, source, At<T>(y));
}

// Of heads of several parts, for all rows.
int64_t ScoreVectors(const PackedHeads& packed) {
  return packed.parts == 1 ? 0 : packed.heads * packed.tiles * packed.tiles * kScoreVectors;
}

template <class T, int kTerms>
void AttendPacked(cudaStream_t stream, const FullAttention& attention, const View& q, const View& k,
                  const View& v, float scale, const PackedHeads& packed, float4* scores, const View& y) {
  BIFRONS_CHECK(packed.heads * packed.parts <= kMaxGridYz, "%lld heads",
                static_cast<long long>(packed.heads));
  const auto tiles = static_cast<unsigned>(packed.tiles), heads = static_cast<unsigned>(packed.heads),
             parts = static_cast<unsigned>(packed.parts);
  const int64_t dim = attention.head_dim;
  const bool aligned = Aligned16(q) && Aligned16(k) && Aligned16(v) && dim % kPerVector<T> == 0;
  Launch(PackHeads<T>, dim3(tiles * kPackBlocks, heads * parts, 3), kPackThreads, 0, stream, At<T>(q),
         At<T>(k), At<T>(v), q.stride, dim, aligned, packed);
  if (parts == 1) {
    Launch(AttendAllTiles<T, kTerms>, dim3(tiles, heads), kFullThreads, 0, stream, packed, dim, scale,
           At<T>(y));
  } else {
    Launch(ScoreTiles, dim3(tiles, tiles, heads), kFullThreads, 0, stream, packed, scores);
    Launch(MixTiles<T, kTerms>, dim3(tiles, parts, heads), kFullThreads, 0, stream, packed, scores, dim,
           scale, At<T>(y));
  }
}

float Scale(int64_t dim) { return 1.0f / std::sqrt(static_cast<float>(dim)); }

}  // namespace

std::unique_ptr<KvBatch> CudaQueue::MakeBatch(KvPages& pages, std::span<const KvSpan> spans) {
  auto batch = std::make_unique<CudaKvBatch>(memory_, pages, spans);
  Bring(batch->bytes().data(), batch->bytes().size(), batch->data());
  return batch;
}

void CudaQueue::CopyPositions(KvPages& base, int32_t from, int64_t positions, int32_t to) {
  const auto& pages = static_cast<const CudaKvPages&>(base);
  const KvShape& shape = pages.shape();
  BIFRONS_CHECK(positions >= 0 && positions <= shape.page_positions);
  if (positions == 0) return;
  Check(cudaMemcpy2DAsync(pages.page(to), pages.head_bytes(), pages.page(from), pages.head_bytes(),
                          static_cast<size_t>(positions) * pages.row_bytes(),
                          static_cast<size_t>(2 * shape.layers * shape.kv_heads), cudaMemcpyDeviceToDevice,
                          stream()),
        "a copy of positions");
}

void CudaQueue::DoStoreKv(View k, View v, const KvBatch& base, int64_t layer) {
  const CudaKvBatch& batch = Cuda(base);
  const KvShape& shape = batch.pages().shape();
  const unsigned blocks = Blocks(k.shape.elements(), kCopyThreads);
  if (shape.type == DType::kQ8_0) {
    Launch(StoreKvBlocks, dim3(blocks, 2), kCopyThreads, 0, stream(), At<float>(k), At<float>(v), k.stride,
           k.rows(), shape.kv_heads, shape.head_dim, KeysOf<int8_t>(batch, layer));
  } else if (shape.type == DType::kBF16) {
    Launch(StoreKvRows<BF16>, blocks, kCopyThreads, 0, stream(), At<float>(k), At<float>(v), k.stride,
           k.rows(), shape.kv_heads, shape.head_dim, KeysOf<BF16>(batch, layer));
  } else {
    Launch(StoreKvRows<float>, blocks, kCopyThreads, 0, stream(), At<float>(k), At<float>(v), k.stride,
           k.rows(), shape.kv_heads, shape.head_dim, KeysOf<float>(batch, layer));
  }
}

void CudaQueue::DoRopeStoreKv(View q, View k, View v, const KvBatch& base, View cos, View sin,
                              int64_t layer) {
  const CudaKvBatch& batch = Cuda(base);
  BIFRONS_CHECK(batch.last_position() < cos.rows());
  const KvShape& shape = batch.pages().shape();
  const int64_t half = cos.width(), heads = q.width() / shape.head_dim;
  const Rotation rotation{At<float>(q),   At<float>(k), At<float>(v),   q.stride, At<float>(cos),
                          At<float>(sin), heads,        shape.kv_heads, half};
  const unsigned blocks = Blocks(q.rows() * rotation.pairs(), kCopyThreads);
  if (shape.type == DType::kQ8_0) {
    Launch(RotateStoreRows<int8_t>, blocks, kCopyThreads, 0, stream(), rotation, q.rows(),
           KeysOf<int8_t>(batch, layer));
    DoStoreKv(k, v, base, layer);
  } else if (shape.type == DType::kBF16) {
    Launch(RotateStoreRows<BF16>, blocks, kCopyThreads, 0, stream(), rotation, q.rows(),
           KeysOf<BF16>(batch, layer));
  } else {
    Launch(RotateStoreRows<float>, blocks, kCopyThreads, 0, stream(), rotation, q.rows(),
           KeysOf<float>(batch, layer));
  }
}

void CudaQueue::DoAttend(View q, const KvBatch& base, int64_t layer, View y) {
  const CudaKvBatch& batch = Cuda(base);
  const KvShape& shape = batch.pages().shape();
  const int64_t dim = shape.head_dim, heads = q.width() / dim;
  const Tiling tiling{batch.tiles(), batch.tile_rows(), q.rows(), batch.last_position() + 1, heads, dim};
  const bool aligned = Aligned16(q) && dim % kPerVector<float> == 0;
  const Queries<float> queries{At<float>(q), q.stride, aligned, heads / shape.kv_heads, Scale(dim)};
  const Workplace work{stream(), Scratch<float>(tiling.scratch_floats()), Counters(tiling.counters())};
  const auto attend = [&]<class T>(const PagedKeys<T>& source) {
    if (std::is_same_v<T, float> || dim > kFewLanes * CachedVector<T>::kCount) {
      AttendPages<kManyLanes>(work, tiling, queries, source, At<float>(y));
    } else if constexpr (!std::is_same_v<T, float>) {
      AttendPages<kFewLanes>(work, tiling, queries, source, At<float>(y));
    }
  };
  switch (shape.type) {
    case DType::kQ8_0:
      return attend(KeysOf<int8_t>(batch, layer));
    case DType::kBF16:
      return attend(KeysOf<BF16>(batch, layer));
    default:
      return attend(KeysOf<float>(batch, layer));
  }
}

void CudaQueue::DoAttendAll(const FullAttention& attention, View q, View k, View v, View y) {
  const float scale = Scale(attention.head_dim);
  PackedHeads packed{nullptr, q.rows(), attention.heads, Blocks(attention.head_dim, kPackedDim),
                     Blocks(q.rows(), kFullTile)};
  // Numbers of bf16 are operands as they are; where the sums are to be of f32, so are the weights.
  const bool rounds = attention.compute == DType::kBF16;
  if (has_tiles_ && (rounds || q.type == DType::kBF16) &&
      ScoreVectors(packed) * int64_t{sizeof(float4)} <= kShareBytes) {
    const int64_t vectors = 3 * packed.heads * packed.parts * packed.tiles * kFullTileVectors;
    packed.vectors = Scratch<uint4>(vectors + ScoreVectors(packed));
    auto* const scores = reinterpret_cast<float4*>(packed.vectors + vectors);
    const auto attend = !rounds                  ? AttendPacked<BF16, 3>
                        : q.type == DType::kBF16 ? AttendPacked<BF16, 1>
                                                 : AttendPacked<float, 1>;
    return attend(stream(), attention, q, k, v, scale, packed, scores, y);
  }
  constexpr int32_t kTileRows = CudaKvBatch::kTileRows;
  std::vector<KvTile> tiles;
  for (int64_t first = 0; first < q.rows(); first += kTileRows) {
    const int64_t rows = std::min<int64_t>(kTileRows, q.rows() - first);
    tiles.push_back({static_cast<int32_t>(first), static_cast<int32_t>(rows)});
  }
  const Tiling tiling{tiles, kTileRows, q.rows(), q.rows(), attention.heads, attention.head_dim};
  const int64_t head_bytes = HeadBytes(q.type, attention.head_dim);
  const bool whole = Aligned16(k) && Aligned16(v) && BytesOf(q.type, attention.head_dim) % 16 == 0;
  const int64_t row = attention.heads * head_bytes, room = whole ? 0 : q.rows() * row;
  uint8_t* const scratch = Scratch<uint8_t>(2 * room + tiling.scratch_floats() * int64_t{sizeof(float)});
  Placed placed{Bytes(k), Bytes(v), static_cast<int64_t>(k.stride_bytes())};
  if (!whole) {
    MakeRoom(stream(), k, attention, scratch);
    MakeRoom(stream(), v, attention, scratch + room);
    placed = {scratch, scratch + room, row};
  }
  const Workplace work{stream(), reinterpret_cast<float*>(scratch + 2 * room), Counters(tiling.counters())};
  if (q.type == DType::kBF16) {
    if (attention.compute == DType::kBF16) {
      AttendRows<BF16, BF16>(work, tiling, q, placed, scale, y);
    } else {
      AttendRows<BF16, float>(work, tiling, q, placed, scale, y);
    }
  } else if (attention.compute == DType::kBF16) {
    AttendRows<float, BF16>(work, tiling, q, placed, scale, y);
  } else {
    AttendRows<float, float>(work, tiling, q, placed, scale, y);
  }
}

}  // namespace bifrons::cuda
