// What devices in the host's memory share: everything but their arithmetic.
#pragma once

#include <cstring>
#include <memory>

#include "kernels/device.h"
#include "kernels/host/kv_pages.h"
#include "kernels/host/memory.h"
#include "src/base/available_memory.h"
#include "src/base/thread_pool.h"

namespace bifrons::host {

/// Rows where the model's file has them.
struct HostTable : Table {
  TensorView numbers;  // [rows, width]

  TensorView Row(int64_t row) const {
    const auto* bytes = static_cast<const uint8_t*>(numbers.data);
    return {bytes + BytesOf(numbers.dtype, {row, width}), numbers.dtype, {width}};
  }
};

class HostDevice : public Device {
 public:
  std::string name() const override { return ProcessorName(); }
  int threads() const override { return pool_.threads(); }
  uint64_t FreeMemory() override { return AvailableMemory(); }
  bool keeps_tables() const override { return true; }

  std::unique_ptr<Buffer> Allocate(size_t bytes) override { return std::make_unique<HostBuffer>(bytes); }
  std::unique_ptr<Table> PackTable(TensorView rows) override {
    auto table = std::make_unique<HostTable>();
    table->rows = rows.shape[0], table->width = rows.shape[1];
    table->numbers = rows;
    return table;
  }
  DeviceTensor PackTensor(TensorView values) override {
    DeviceTensor tensor = NewTensor(values.dtype, values.shape);
    std::memcpy(Bytes(tensor.view()), values.data, values.bytes());
    return tensor;
  }
  std::unique_ptr<KvPages> MakeKvPages(const KvShape& shape) override {
    return std::make_unique<HostKvPages>(shape);
  }

 protected:
  explicit HostDevice(int threads) : pool_(threads) {}
  ThreadPool pool_;  // which the queues share
};

}  // namespace bifrons::host
