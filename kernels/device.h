// A device: memory, the weights and caches packed for it, and the queues that work on them.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/queue.h"
#include "kernels/view.h"
#include "kernels/weights.h"
#include "src/base/result.h"

namespace bifrons {

class Device {
 public:
  virtual ~Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // ---- what it is -------------------------------------------------------------------------------
  /// "cpu", "cuda", "ref"
  virtual std::string backend() const = 0;
  /// "baseline", "avx2", "avx512", "amx", "neon", "dotprod"; "sm_90" and the like for cuda; "scalar" for ref
  virtual std::string isa() const = 0;
  /// What it calls itself: "AMD EPYC 9654 96-Core Processor", "NVIDIA H200".
  virtual std::string name() const = 0;
  /// Host threads that its queues share.
  virtual int threads() const = 0;
  /// bf16 where products of bf16 are native, else f32.
  virtual DType default_compute() const = 0;
  /// Bytes that may still be allocated, weights and pages included.
  virtual uint64_t FreeMemory() = 0;
  /// Whether tables take of that memory: a GPU reads them in the host's.
  virtual bool keeps_tables() const = 0;
  /// Bytes per second at which it reads its memory (best of a few passes), caches apart. Takes some memory
  /// meanwhile.
  virtual double MeasureBandwidth() = 0;
  /// Multiply-accumulates per second of a loop that never leaves the registers, with the instructions that
  /// products of `compute` (f32, bf16) use.
  virtual double MeasureMacRate(DType compute) = 0;
  /// What makes convolutions in place of kernels of its own, where UseCudnn has said so and it had some of
  /// those that were packed, if any were: "cuDNN 9.19.0"; else "".
  virtual std::string convolution_library() const { return {}; }

  // ---- memory and weights ---------------------------------------------------------------------------
  // From any thread; all throw std::bad_alloc.
  virtual std::unique_ptr<Buffer> Allocate(size_t bytes) = 0;
  DeviceTensor NewTensor(DType type, Shape shape) { return {Allocate(BytesOf(type, shape)), type, shape}; }
  /// Packs `parts` ([out_i, in], each of f32, bf16, f16 or in blocks and kept so, stacked along out) and an
  /// optional bias (f32/bf16/f16 [out], or an empty view). The views may go away afterwards.
  virtual std::unique_ptr<Linear> PackLinear(std::span<const TensorView> parts, TensorView bias,
                                             DType compute) = 0;
  /// weight [out_channels, in_channels, kernel, kernel], bias [out_channels] or empty.
  virtual std::unique_ptr<Conv2d> PackConv(const ConvShape& shape, TensorView weight, TensorView bias) = 0;
  /// Convolutions that are packed from now on are made by NVIDIA's cuDNN, where it has such ones; before
  /// anything else is done with the device. Errors, which leave all as it was: kUsage where the device is no
  /// GPU or the library is not on this machine, kFailure where the library cannot be used.
  virtual Status UseCudnn() {
    return UsageError("device " + backend() + " has no cuDNN; use --device cuda, or leave --conv out");
  }
  /// rows [n, width] of f32, bf16, f16 or in blocks, which must stay as long as the table: a device may read
  /// them there.
  virtual std::unique_ptr<Table> PackTable(TensorView rows) = 0;
  /// Numbers as they are (norms, positions, codebooks); `values` may go away afterwards.
  virtual DeviceTensor PackTensor(TensorView values) = 0;
  /// f32 [n].
  DeviceTensor PackVector(std::span<const float> values) {
    return PackTensor({values.data(), DType::kF32, {static_cast<int64_t>(values.size())}});
  }
  virtual std::unique_ptr<KvPages> MakeKvPages(const KvShape& shape) = 0;

  virtual std::unique_ptr<Queue> MakeQueue() = 0;

 protected:
  Device() = default;
};

/// `tensor` itself if it has room for [rows, width], else made anew; the view is [rows, width] f32.
View Grown(Device& device, DeviceTensor& tensor, int64_t rows, int64_t width);

// ---- choosing one -------------------------------------------------------------------------------

/// Instruction sets of the cpu device that this processor can run, worst first ("baseline", "avx2", …; "neon"
/// on arm64).
std::vector<std::string> AvailableIsas();

/// Whether MakeDevice knows the name: "cpu", "ref", "cuda" (the first GPU), "cuda:1", ….
bool IsDeviceName(std::string_view name);

/// The device of that name, with so many host threads. isa "" means the best available; otherwise one of
/// AvailableIsas() (cpu only). Also caps oneDNN's instruction set, which works once per process, before its
/// first use: asking for a second, different set in one process is an error. Where this build or this machine
/// has no such GPU that is a kUsage error; one that cannot be used is a kFailure.
Result<std::unique_ptr<Device>> MakeDevice(std::string_view name, std::string_view isa, int threads);

/// "AMD EPYC 9654 96-Core Processor", as the processor names itself.
std::string ProcessorName();

}  // namespace bifrons
