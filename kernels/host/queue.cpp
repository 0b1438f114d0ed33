#include "kernels/host/queue.h"

#include <algorithm>
#include <cstring>

#include "kernels/host/convert.h"
#include "kernels/host/kv_pages.h"

namespace bifrons::host {

std::unique_ptr<KvBatch> HostQueue::MakeBatch(KvPages& pages, std::span<const KvSpan> spans) {
  return std::make_unique<HostKvBatch>(static_cast<HostKvPages&>(pages), spans);
}

void HostQueue::CopyPositions(KvPages& pages, int32_t from, int64_t positions, int32_t to) {
  static_cast<HostKvPages&>(pages).CopyPositions(from, positions, to);
}

void HostQueue::Discard(KvPages& pages, std::span<const int32_t> numbers) {
  for (const int32_t number : numbers) static_cast<HostKvPages&>(pages).Discard(number);
}

void HostQueue::DoMultiplyNormed(const Linear& weight, View x, View norm, float eps, RowClass row_class,
                                 Epilogue epilogue, View y) {
  const size_t bytes = BytesOf(x.type, x.shape);
  if (normed_ == nullptr || normed_->bytes() < bytes) normed_ = std::make_unique<HostBuffer>(bytes);
  const View normed{.buffer = normed_.get(), .type = x.type, .shape = x.shape, .stride = x.width()};
  DoRmsNorm(x, norm, eps, normed);
  DoMultiply(weight, normed, row_class, epilogue, y);
}

void HostQueue::DoUpload(TensorView from, View to) {
  const auto* source = static_cast<const uint8_t*>(from.data);
  for (int64_t r = 0; r < to.rows(); r++) {
    std::memcpy(Bytes(to) + static_cast<size_t>(r) * to.stride_bytes(),
                source + static_cast<size_t>(r) * to.row_bytes(), to.row_bytes());
  }
}

Ticket HostQueue::DoDownload(View from, void* to) {
  for (int64_t r = 0; r < from.rows(); r++) {
    std::memcpy(static_cast<uint8_t*>(to) + static_cast<size_t>(r) * from.row_bytes(),
                Bytes(from) + static_cast<size_t>(r) * from.stride_bytes(), from.row_bytes());
  }
  return Record();
}

void HostQueue::DoCopy(View from, View to) {
  const int64_t width = to.width();
  for (int64_t r = 0; r < to.rows(); r++) {
    const uint8_t* source = Bytes(from) + static_cast<size_t>(r) * from.stride_bytes();
    uint8_t* target = Bytes(to) + static_cast<size_t>(r) * to.stride_bytes();
    if (from.type == to.type) {
      std::memcpy(target, source, to.row_bytes());
    } else {
      Convert({source, from.type, {width}}, to.type, target);
    }
  }
}

void HostQueue::DoCopyRows(View from, std::span<const int32_t> rows, View to) {
  for (size_t r = 0; r < rows.size(); r++) {
    std::memcpy(Bytes(to) + r * to.stride_bytes(),
                Bytes(from) + static_cast<size_t>(rows[r]) * from.stride_bytes(), to.row_bytes());
  }
}

void HostQueue::DoFill(View to, float value) {
  for (int64_t r = 0; r < to.rows(); r++) {
    uint8_t* row = Bytes(to) + static_cast<size_t>(r) * to.stride_bytes();
    if (to.type == DType::kF32) std::fill_n(reinterpret_cast<float*>(row), to.width(), value);
    if (to.type == DType::kBF16) std::fill_n(reinterpret_cast<BF16*>(row), to.width(), ToBF16(value));
    if (to.type == DType::kI32)
      std::fill_n(reinterpret_cast<int32_t*>(row), to.width(), static_cast<int32_t>(value));
  }
}

}  // namespace bifrons::host
