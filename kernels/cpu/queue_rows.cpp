// Deals the row ops to the pool. What a row gets never depends on how the work is dealt.
#include <algorithm>
#include <vector>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/queue.h"
#include "kernels/host/convert.h"
#include "kernels/host/device.h"
#include "kernels/sample_row.h"

namespace bifrons::cpu {

using host::At;

void CpuQueue::DoMultiply(const Linear& weight, View x, RowClass row_class, Epilogue epilogue, View y) {
  cpu::Multiply(work_, static_cast<const PackedLinear&>(weight), At<float>(x), x.own_layout, x.rows(),
                row_class, epilogue, At<float>(y), y.own_layout);
}

void CpuQueue::DoLookUp(const Table& table, View ids, View y) {
  const auto& rows = static_cast<const host::HostTable&>(table);
  const size_t row_bytes = BytesOf(y.type, table.width);
  work_.Deal(y.rows(), table.width, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) {
      const int32_t id = std::max(0, At<int32_t>(ids)[r * ids.stride]);
      BIFRONS_CHECK(id < table.rows, "id %d of %lld", id, static_cast<long long>(table.rows));
      host::Convert(rows.Row(id), y.type, host::Bytes(y) + static_cast<size_t>(r) * row_bytes);
    }
  });
}

void CpuQueue::DoRmsNorm(View x, View weight, float eps, View y) {
  work_.Deal(x.rows(), x.width(), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) {
      work_.rows.rms_norm(At<float>(x) + r * x.stride, At<float>(weight), eps, x.width(),
                          At<float>(y) + r * y.stride);
    }
  });
}

void CpuQueue::DoLayerNorm(View x, View weight, View bias, float eps, View y) {
  work_.Deal(x.rows(), x.width(), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) {
      work_.rows.layer_norm(At<float>(x) + r * x.stride, At<float>(weight), At<float>(bias), eps, x.width(),
                            At<float>(y) + r * y.stride);
    }
  });
}

void CpuQueue::DoStoreKv(View k, View v, const KvBatch& base, int64_t layer) {
  const auto& batch = static_cast<const host::HostKvBatch&>(base);
  const KvShape& shape = batch.pages().shape();
  const int64_t dim = shape.head_dim;
  const auto store = [&](const float* from, uint8_t* to) {
    if (shape.type == DType::kBF16) {
      work_.rows.to_bf16(from, dim, reinterpret_cast<BF16*>(to));
    } else {
      host::Convert({from, DType::kF32, {dim}}, shape.type, to);
    }
  };
  work_.Deal(k.rows(), 2 * shape.kv_heads * dim, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) {
      const host::KvRow& row = batch.row_places()[static_cast<size_t>(r)];
      for (int64_t h = 0; h < shape.kv_heads; h++) {
        store(At<float>(k) + r * k.stride + h * dim, batch.Keys(row, layer, h, row.position));
        store(At<float>(v) + r * v.stride + h * dim, batch.Values(row, layer, h, row.position));
      }
    }
  });
}

void CpuQueue::DoRopeStoreKv(View q, View k, View v, const KvBatch& batch, View cos, View sin,
                             int64_t layer) {
  const auto& rows = static_cast<const host::HostKvBatch&>(batch).row_places();
  const int64_t half = cos.width();
  work_.Deal(q.rows(), q.width() + k.width(), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) {
      const int64_t position = rows[static_cast<size_t>(r)].position;
      BIFRONS_CHECK(position < cos.rows());
      for (const View& x : {q, k}) {
        for (int64_t h = 0; h < x.width() / (2 * half); h++) {
          float* low = At<float>(x) + r * x.stride + h * 2 * half;
          work_.rows.rotate(low, low + half, At<float>(cos) + position * half,
                            At<float>(sin) + position * half, half);
        }
      }
    }
  });
  DoStoreKv(k, v, batch, layer);
}

void CpuQueue::DoAttend(View q, const KvBatch& batch, int64_t layer, View y) {
  AttendToPast(work_, At<float>(q), q.stride, q.width() / batch.pages().shape().head_dim,
               static_cast<const host::HostKvBatch&>(batch), layer, At<float>(y));
}

void CpuQueue::DoAttendAll(const FullAttention& attention, View q, View k, View v, View y) {
  AttendToAll(work_, attention, q, k, v, y);
}

void CpuQueue::DoSample(View logits, std::span<const SampleRequest> requests, View tokens) {
  const int64_t n = logits.width();
  work_.pool.ParallelFor(static_cast<int64_t>(requests.size()), [&](int64_t begin, int64_t end, int part) {
    const SampleScratch scratch{work_.scratch.Get<float>(Scratch::kProducts, n, part),
                                work_.scratch.Get<uint64_t>(Scratch::kWeights, kSampleBuckets, part)};
    for (int64_t i = begin; i < end; i++) {
      const SampleRequest& r = requests[static_cast<size_t>(i)];
      const float* row = At<float>(logits) + r.row * logits.stride;
      At<int32_t>(tokens)[r.to] =
          SampleRow(row, r.paired ? row + logits.stride : nullptr, n, r.sampling, r.noise, scratch);
    }
  });
}

}  // namespace bifrons::cpu
