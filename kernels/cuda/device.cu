#include "kernels/cuda/device.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <string>

#include "kernels/cuda/conv.h"
#include "kernels/cuda/cudnn_conv.h"
#include "kernels/cuda/intrinsics.cuh"
#include "kernels/cuda/kv_pages.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/queue.h"
#include "kernels/cuda/rates.cuh"
#include "kernels/cuda/table.h"

namespace bifrons::cuda {
namespace {

int Attribute(cudaDeviceAttr attribute, int device) {
  int value = 0;
  Check(cudaDeviceGetAttribute(&value, attribute, device), "the device's properties");
  return value;
}

// 80, 120
int Capability(int device) {
  return 10 * Attribute(cudaDevAttrComputeCapabilityMajor, device) +
         Attribute(cudaDevAttrComputeCapabilityMinor, device);
}

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int index) : memory_(index), has_tiles_(Capability(index) >= kTileCapability) {}

  std::string backend() const override { return "cuda"; }
  std::string isa() const override { return "sm_" + std::to_string(Capability(memory_.device())); }
  std::string name() const override {
    cudaDeviceProp properties;
    Check(cudaGetDeviceProperties(&properties, memory_.device()), "the device's properties");
    return properties.name;
  }
  int threads() const override { return 1; }  // who gives the work
  // What cuDNN may come to ask for is left to it.
  uint64_t FreeMemory() override {
    const uint64_t free = memory_.FreeBytes();
    return cudnn_ == nullptr ? free : free - std::min<uint64_t>(free, kMostWorkspace);
  }
  bool keeps_tables() const override { return false; }
  // Without tensor cores products of both types are multiply-accumulates of f32.
  DType default_compute() const override { return has_tiles_ ? DType::kBF16 : DType::kF32; }
  double MeasureBandwidth() override;
  double MeasureMacRate(DType compute) override;

  std::unique_ptr<Buffer> Allocate(size_t bytes) override {
    return std::make_unique<CudaBuffer>(memory_, bytes);
  }
  std::unique_ptr<Linear> PackLinear(std::span<const TensorView> parts, TensorView bias,
                                     DType compute) override {
    return cuda::PackLinear(memory_, has_tiles_, parts, bias, compute);
  }
  std::unique_ptr<Conv2d> PackConv(const ConvShape& shape, TensorView weight, TensorView bias) override {
    if (cudnn_ != nullptr) {
      auto conv = cudnn_->Pack(shape, weight, bias);
      if (conv != nullptr) packs_by_cudnn_ = true;
      has_packed_ = true;
      if (conv != nullptr) return conv;
    }
    return cuda::PackConv(memory_, has_tiles_, shape, weight, bias);
  }
  Status UseCudnn() override {
    BIFRONS_TRY(cudnn_, CudnnConvolutions::Open(memory_, has_tiles_));
    return {};
  }
  std::string convolution_library() const override {
    return cudnn_ == nullptr || (has_packed_ && !packs_by_cudnn_) ? "" : cudnn_->name();
  }
  std::unique_ptr<Table> PackTable(TensorView rows) override {
    memory_.MakeCurrent();
    auto table = std::make_unique<CudaTable>(rows.bytes());
    table->rows = rows.shape[0], table->width = rows.shape[1];
    table->stored = rows.dtype;
    std::memcpy(table->numbers.data(), rows.data, rows.bytes());
    return table;
  }
  DeviceTensor PackTensor(TensorView values) override {
    DeviceTensor tensor = NewTensor(values.dtype, values.shape);
    memory_.Bring(values.data, values.bytes(), Bytes(tensor.view()));
    return tensor;
  }
  std::unique_ptr<KvPages> MakeKvPages(const KvShape& shape) override {
    return std::make_unique<CudaKvPages>(memory_, shape);
  }
  std::unique_ptr<Queue> MakeQueue() override { return std::make_unique<CudaQueue>(memory_, has_tiles_); }

 private:
  // Seconds of the shortest of a few launches that `launch` gives a stream.
  template <class Launches>
  double Shortest(const Launches& launch);

  DeviceMemory memory_;
  const bool has_tiles_;  // tensor cores for bf16
  std::unique_ptr<CudnnConvolutions> cudnn_;
  // Whether convolutions were packed since there is the library, and whether it makes some of them.
  std::atomic<bool> has_packed_ = false, packs_by_cudnn_ = false;
};

template <class Launches>
double CudaDevice::Shortest(const Launches& launch) {
  constexpr int kTries = 5;
  const OwnStream own(memory_);
  const cudaStream_t stream = own.get();
  const Event begun(true), ended(true);
  float shortest = INFINITY;
  for (int i = 0; i < kTries; i++) {
    Check(cudaEventRecord(begun.get(), stream), "measuring");
    launch(stream);
    Check(cudaEventRecord(ended.get(), stream), "measuring");
    Check(cudaEventSynchronize(ended.get()), "measuring");
    float milliseconds = 0;
    Check(cudaEventElapsedTime(&milliseconds, begun.get(), ended.get()), "measuring");
    shortest = std::min(shortest, milliseconds);
  }
  return static_cast<double>(shortest) * 1e-3;
}

// More than any cache holds, where there is so much.
double CudaDevice::MeasureBandwidth() {
  constexpr size_t kMostBytes = size_t{512} << 20;
  constexpr unsigned kBlocksPerProcessor = 8;
  const size_t bytes = std::min(kMostBytes, memory_.FreeBytes() / 4) / 16 * 16;
  const auto blocks = static_cast<unsigned>(Attribute(cudaDevAttrMultiProcessorCount, memory_.device())) *
                      kBlocksPerProcessor;
  const CudaBuffer arena(memory_, bytes), sums(memory_, blocks * kRateThreads * sizeof(uint32_t));
  const double seconds = Shortest([&](cudaStream_t stream) {
    Launch(ReadVectors, blocks, kRateThreads, 0, stream, arena.data(), static_cast<int64_t>(bytes / 16),
           reinterpret_cast<uint32_t*>(sums.data()));
  });
  return static_cast<double>(bytes) / seconds;
}

double CudaDevice::MeasureMacRate(DType compute) {
  const bool tiles = has_tiles_ && compute == DType::kBF16;
  const int rounds = tiles ? 1 << 10 : 1 << 14;
  constexpr unsigned kBlocksPerProcessor = 8;
  const auto blocks = static_cast<unsigned>(Attribute(cudaDevAttrMultiProcessorCount, memory_.device())) *
                      kBlocksPerProcessor;
  const CudaBuffer results(memory_, blocks * kRateThreads * sizeof(float));
  const double seconds = Shortest([&](cudaStream_t stream) {
    auto* const to = reinterpret_cast<float*>(results.data());
    if (tiles) {
      constexpr uint32_t kHalves = 0x3F003F00;  // two of bf16
      Launch(MultiplyTiles, blocks, kRateThreads, 0, stream, rounds, kHalves, to);
    } else {
      Launch(MultiplyAccumulate, blocks, kRateThreads, 0, stream, rounds, 0.5f, to);
    }
  });
  const double chains = static_cast<double>(blocks) * kRateThreads * kMacChains * rounds / seconds;
  return tiles ? chains * kTileMacs / kWarp : chains;
}

}  // namespace

std::unique_ptr<Device> MakeCudaDevice(int index) { return std::make_unique<CudaDevice>(index); }

}  // namespace bifrons::cuda
