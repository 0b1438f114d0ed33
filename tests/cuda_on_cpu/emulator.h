// CUDA on the CPU, for tests: what they can set. The emulator
//   * runs the threads of a block as fibers, whose warps meet at every shuffle and ballot, in one of four
//   orders;
//   * fills shared and device memory with NaN, and guards its ends;
//   * makes copies beside the work when they are waited for;
//   * hides device memory from the host, but for the time of a kernel or a copy;
//   * does what streams were given only when somebody waits, in any order that their events allow.
// A program that relies on more than CUDA documents gets NaN, or ends with a line or a signal.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace cuda_emulator {

/// In which the lanes of a warp, the warps of a block and the blocks of a grid run.
enum class Order : uint8_t { kForward, kReverse, kRandom, kOtherRandom };

struct Settings {
  Order order = Order::kForward;
  uint64_t seed = 1;                      // of the order of streams' work
  int threads = 2;                        // of the host, that blocks are spread over
  size_t memory_bytes = size_t{8} << 30;  // of the device
  /// What every call says that needs a device: cudaSuccess, cudaErrorNoDevice or cudaErrorInsufficientDriver.
  cudaError_t driver = cudaSuccess;
  int driver_version = 13000;    // 0: there is no driver
  int capability = 80;           // of the device
  bool counts_bytes = false;     // TouchedBytes grows; kernels run slower
  bool spoils_captures = false;  // as another thread's calls may
};

/// From now on; memory that is in use stays.
void Set(const Settings& settings);
const Settings& Current();

/// Bytes of device memory.
struct DeviceRange {
  const void* begin;
  size_t bytes;
};
/// For libraries that stand in for NVIDIA's: gives the stream work on this memory, as a launch does. `name`
/// is a literal, for lines that blame the call.
void GiveWork(cudaStream_t stream, const char* name, std::span<const DeviceRange> memory,
              std::function<void()> work);

/// Kernels that ran so far.
uint64_t LaunchedKernels();
/// What they read or wrote of the device's memory, in whole pages of 4096 bytes, each once per kernel: what a
/// cache that never forgets within a kernel would get from memory.
uint64_t TouchedBytes();

}  // namespace cuda_emulator
