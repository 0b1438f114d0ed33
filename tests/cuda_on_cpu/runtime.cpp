// The host's calls for the device, memory and launches. What CUDA documents as wrong, and what it leaves
// open, ends the process with a line.
#include <cuda_runtime.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <utility>

#include "tests/cuda_on_cpu/launch.h"
#include "tests/cuda_on_cpu/state.h"

namespace cuda_emulator {
namespace {

constexpr int kVersion = 13000;
constexpr int kMultiprocessors = 3;

// Memory that given work is done on.
struct Used {
  std::vector<uint64_t> device, pinned;
};

// Device memory [p, p + bytes) of one allocation.
void AddDevice(State& state, const char* call, const void* p, size_t bytes, Used& used) {
  Require(state.arena.Contains(p), call, "an address of the host's for one of the device's");
  const Allocation* found = state.arena.Find(p);
  Require(found != nullptr && !found->leaving, call, "device memory that was freed or never taken");
  Require(static_cast<const uint8_t*>(p) + bytes <= found->begin + found->bytes, call,
          "more than the device memory that was taken");
  used.device.push_back(found->id);
}

// Host memory; of one allocation where it is pinned.
void AddHost(State& state, const char* call, const void* p, size_t bytes, Used& used) {
  Require(p != nullptr && !state.arena.Contains(p), call, "an address of the device's for one of the host's");
  const uint64_t pinned = state.pinned.Find(p);
  if (pinned == 0) return;
  Require(state.pinned.Find(static_cast<const uint8_t*>(p) + bytes - 1) == pinned, call,
          "more than the pinned memory that was taken");
  used.pinned.push_back(pinned);
}

// Gives the stream work on memory that must still be there when it is done.
void GiveWith(State& state, cudaStream_t stream, const char* call, Used used, std::function<void()> run) {
  state.streams.Give(stream, [&state, call, used = std::move(used), run = std::move(run)] {
    for (const uint64_t id : used.device)
      Require(state.arena.Find(id) != nullptr, call,
              "device memory was freed before the work on it was done");
    for (const uint64_t id : used.pinned)
      Require(state.pinned.Has(id), call, "pinned memory was freed before the work on it was done");
    state.arena.Open();
    run();
  });
}

void CopyLines(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height) {
  for (size_t line = 0; line < height; line++) {
    std::memmove(static_cast<uint8_t*>(to) + line * to_pitch,
                 static_cast<const uint8_t*>(from) + line * from_pitch, width);
  }
}

// Late from and to pageable memory, too. There CUDA may read at once or not, and is done with writing when it
// returns: a program that is right here is right there.
cudaError_t GiveCopy(const char* call, void* to, size_t to_pitch, const void* from, size_t from_pitch,
                     size_t width, size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  const Call now;
  State& state = now.state;
  if (width == 0 || height == 0) {
    state.streams.Of(stream);
    return cudaSuccess;
  }
  Require(to_pitch >= width && from_pitch >= width, call, "lines that overlap");
  const size_t to_bytes = (height - 1) * to_pitch + width, from_bytes = (height - 1) * from_pitch + width;
  Used used;
  const bool to_device = kind != cudaMemcpyDeviceToHost, from_device = kind != cudaMemcpyHostToDevice;
  to_device ? AddDevice(state, call, to, to_bytes, used) : AddHost(state, call, to, to_bytes, used);
  from_device ? AddDevice(state, call, from, from_bytes, used) : AddHost(state, call, from, from_bytes, used);
  if (to_device && from_device) {
    const auto a = reinterpret_cast<uintptr_t>(to), b = reinterpret_cast<uintptr_t>(from);
    Require(a + to_bytes <= b || b + from_bytes <= a, call, "memory that overlaps");
  }
  GiveWith(state, stream, call, std::move(used),
           [=] { CopyLines(to, to_pitch, from, from_pitch, width, height); });
  return cudaSuccess;
}

// Memory, if need be by doing what streams were given until some comes back.
cudaError_t Take(State& state, void** memory, size_t bytes, Allocation** taken) {
  Require(memory != nullptr && bytes > 0, "cudaMalloc", "no bytes");
  while ((*taken = state.arena.Take(bytes, state.settings.memory_bytes)) == nullptr) {
    if (state.streams.AllDone()) return Failed(cudaErrorMemoryAllocation);
    state.streams.Step();
  }
  *memory = (*taken)->begin;
  return cudaSuccess;
}

}  // namespace

void Die(const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  std::fputs("cuda emulator: ", stderr);
  std::vfprintf(stderr, format, arguments);
  std::fputc('\n', stderr);
  va_end(arguments);
  std::abort();
}

void Set(const Settings& settings) {
  const Call now;
  now.state.settings = settings;
  now.state.streams.Seed(settings.seed);
}

const Settings& Current() { return TheState().settings; }

void GiveWork(cudaStream_t stream, const char* name, std::span<const DeviceRange> memory,
              std::function<void()> work) {
  const Call now;
  Used used;
  for (const DeviceRange& range : memory) AddDevice(now.state, name, range.begin, range.bytes, used);
  GiveWith(now.state, stream, name, std::move(used), std::move(work));
}

uint64_t LaunchedKernels() {
  const Call now;
  return now.state.launched;
}

uint64_t TouchedBytes() {
  const Call now;
  return now.state.touched;
}

cudaError_t Launch(const cudaLaunchConfig_t& config, const void* kernel, std::vector<Address> addresses,
                   std::function<void()> thread) {
  const Call now;
  State& state = now.state;
  const dim3 blocks = config.gridDim, threads = config.blockDim;
  const std::string name = KernelName(kernel);
  const std::string call = "launch of " + name;
  Require(config.numAttrs == 0, call.c_str(), "attributes");
  Require(blocks.x > 0 && blocks.y > 0 && blocks.z > 0, call.c_str(), "no blocks");
  Require(blocks.x <= 0x7FFFFFFF && blocks.y <= 65535 && blocks.z <= 65535, call.c_str(), "too many blocks");
  const size_t count = size_t{threads.x} * threads.y * threads.z;
  Require(count > 0 && count <= kMostThreads && threads.z <= 64, call.c_str(), "too many threads of a block");
  Require(count % kLanes == 0, call.c_str(), "a block that is no multiple of 32 threads");
  const auto allowed = state.allowed_shared.find(kernel);
  const bool more = allowed != state.allowed_shared.end();
  Require(config.dynamicSmemBytes <= (more ? std::max(allowed->second, kMostShared) : kMostShared),
          call.c_str(), "more shared memory than the kernel was allowed");
  const size_t most_shared = more ? MostSharedAllowed(state.settings.capability) : kMostShared;
  Used used;
  for (const Address& address : addresses) {
    if (address.value == nullptr) continue;
    const uint64_t pinned = state.pinned.Find(address.value);
    if (pinned != 0) {
      used.pinned.push_back(pinned);
    } else if (state.arena.Contains(address.value)) {
      const Allocation* found = state.arena.Find(address.value);
      if (found == nullptr && !address.is_pointer) continue;
      Require(found != nullptr && !found->leaving, call.c_str(),
              "device memory that was freed or never taken");
      used.device.push_back(found->id);
    } else {
      Require(!address.is_pointer && !IsMapped(address.value), call.c_str(), "memory that only the host has");
    }
  }
  Grid grid{.blocks = blocks,
            .threads = threads,
            .dynamic_bytes = config.dynamicSmemBytes,
            .most_shared = most_shared,
            .kernel = "",
            .thread = std::move(thread)};
  GiveWith(state, config.stream, "a launch", std::move(used),
           [&state, name, grid = std::move(grid)]() mutable {
             grid.kernel = name.c_str();
             grid.order = state.settings.order;
             grid.seed = state.launched++ * 2 + (grid.order == Order::kOtherRandom);
             const auto run = [&] { RunGrid(grid, state.settings.threads); };
             state.settings.counts_bytes ? void(state.touched += state.arena.Touched(run)) : run();
           });
  return cudaSuccess;
}

}  // namespace cuda_emulator

using namespace cuda_emulator;  // NOLINT(google-build-using-namespace): only CUDA's own names follow

extern "C" {

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    case cudaErrorNotReady:
      return "device not ready";
  }
  Die("an error that CUDA does not know");
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

// ---- the device ----------------------------------------------------------------------------------------

cudaError_t cudaDriverGetVersion(int* version) {
  const Call now;
  *version = now.state.settings.driver_version;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = kVersion;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  NEEDS_A_DRIVER();
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  NEEDS_A_DRIVER();
  return device == 0 ? cudaSuccess : Failed(cudaErrorInvalidDevice);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  NEEDS_A_DRIVER();
  if (device != 0) return Failed(cudaErrorInvalidDevice);
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "CUDA emulator");
  properties->totalGlobalMem = state.settings.memory_bytes;
  properties->sharedMemPerBlock = kMostShared;
  properties->sharedMemPerBlockOptin = MostSharedAllowed(state.settings.capability);
  properties->major = state.settings.capability / 10;
  properties->minor = state.settings.capability % 10;
  properties->multiProcessorCount = kMultiprocessors;
  properties->maxThreadsPerBlock = kMostThreads;
  properties->warpSize = kLanes;
  properties->l2CacheSize = 1 << 20;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, device); error != cudaSuccess)
    return error;
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = properties.multiProcessorCount;
      return cudaSuccess;
    case cudaDevAttrL2CacheSize:
      *value = properties.l2CacheSize;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = properties.major;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = properties.minor;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(properties.sharedMemPerBlockOptin);
      return cudaSuccess;
    case cudaDevAttrMemoryPoolsSupported:
      *value = 1;
      return cudaSuccess;
  }
  Die("cudaDeviceGetAttribute: attribute %d", attribute);
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  NEEDS_A_DRIVER();
  *total = state.settings.memory_bytes;
  *free = *total - std::min(*total, state.arena.taken());
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  NEEDS_A_DRIVER();
  state.streams.Until([&] { return state.streams.AllDone(); }, nullptr);
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  NEEDS_A_DRIVER();
  Require(attribute == cudaFuncAttributeMaxDynamicSharedMemorySize, "cudaFuncSetAttribute",
          "another attribute");
  if (value < 0 || static_cast<size_t>(value) > MostSharedAllowed(state.settings.capability))
    return Failed(cudaErrorInvalidValue);
  state.allowed_shared[kernel] = static_cast<size_t>(value);
  return cudaSuccess;
}

// ---- memory --------------------------------------------------------------------------------------------

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  NEEDS_A_DRIVER();
  Allocation* taken = nullptr;
  return Take(state, memory, bytes, &taken);
}

// At once, as nothing says that it waits for anybody.
cudaError_t cudaFree(void* memory) {
  NEEDS_A_DRIVER();
  if (memory == nullptr) return cudaSuccess;
  const Allocation* found = state.arena.Find(memory);
  Require(found != nullptr && found->begin == memory && !found->leaving, "cudaFree",
          "device memory that was freed or never taken");
  state.arena.GiveBack(*found);
  return cudaSuccess;
}

// There only from its moment in the stream's order on.
cudaError_t cudaMallocAsync(void** memory, size_t bytes, cudaStream_t stream) {
  NEEDS_A_DRIVER();
  state.streams.Of(stream);
  Allocation* taken = nullptr;
  if (const cudaError_t error = Take(state, memory, bytes, &taken); error != cudaSuccess) return error;
  taken->pool_stream = stream;
  GiveWith(state, stream, "cudaMallocAsync", {{taken->id}, {}},
           [&state, id = taken->id] { state.arena.Poison(*state.arena.Find(id)); });
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  NEEDS_A_DRIVER();
  if (memory == nullptr) return cudaSuccess;
  Allocation* found = state.arena.Find(memory);
  Require(found != nullptr && found->begin == memory && !found->leaving, "cudaFreeAsync",
          "device memory that was freed or never taken");
  Require(found->pool_stream != nullptr, "cudaFreeAsync", "memory that cudaMalloc took");
  found->leaving = true;
  state.streams.Give(stream, [&state, id = found->id] { state.arena.GiveBack(*state.arena.Find(id)); });
  return cudaSuccess;
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  NEEDS_A_DRIVER();
  if (device != 0) return Failed(cudaErrorInvalidDevice);
  *pool = reinterpret_cast<cudaMemPool_t>(&state.arena);
  return cudaSuccess;
}

// When the pool gives memory back to the driver is nobody's business here.
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  NEEDS_A_DRIVER();
  Require(pool == reinterpret_cast<cudaMemPool_t>(&state.arena) &&
              attribute == cudaMemPoolAttrReleaseThreshold && value != nullptr,
          "cudaMemPoolSetAttribute", "another pool or attribute");
  return cudaSuccess;
}

// The emulator's pool keeps nothing.
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  NEEDS_A_DRIVER();
  Require(
      pool == reinterpret_cast<cudaMemPool_t>(&state.arena) &&
          (attribute == cudaMemPoolAttrReservedMemCurrent || attribute == cudaMemPoolAttrUsedMemCurrent) &&
          value != nullptr,
      "cudaMemPoolGetAttribute", "another pool or attribute");
  *static_cast<uint64_t*>(value) = state.arena.taken();
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned flags) {
  NEEDS_A_DRIVER();
  Require(bytes > 0 && (flags & ~(cudaHostAllocPortable | cudaHostAllocMapped)) == 0, "cudaHostAlloc",
          "no bytes, or other flags");
  *memory = state.pinned.Take(bytes);
  return *memory == nullptr ? Failed(cudaErrorMemoryAllocation) : cudaSuccess;
}

cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  return cudaHostAlloc(memory, bytes, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void* memory) {
  NEEDS_A_DRIVER();
  if (memory != nullptr) state.pinned.Free(memory);
  return cudaSuccess;
}

cudaError_t cudaHostRegister(void* memory, size_t bytes, unsigned flags) {
  NEEDS_A_DRIVER();
  Require((flags & ~(cudaHostRegisterPortable | cudaHostRegisterMapped | cudaHostRegisterReadOnly)) == 0,
          "cudaHostRegister", "other flags");
  Require(!state.arena.Contains(memory), "cudaHostRegister", "memory of the device's");
  state.pinned.Register(memory, bytes);
  return cudaSuccess;
}

cudaError_t cudaHostUnregister(void* memory) {
  NEEDS_A_DRIVER();
  state.pinned.Unregister(memory);
  return cudaSuccess;
}

cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned flags) {
  NEEDS_A_DRIVER();
  Require(flags == 0 && state.pinned.Find(host) != 0, "cudaHostGetDevicePointer",
          "memory that is not pinned");
  *device = host;
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return GiveCopy("cudaMemcpyAsync", to, bytes, from, bytes, bytes, 1, kind, stream);
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  return GiveCopy("cudaMemcpy2DAsync", to, to_pitch, from, from_pitch, width, height, kind, stream);
}

cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  NEEDS_A_DRIVER();
  if (bytes == 0) return cudaSuccess;
  Used used;
  AddDevice(state, "cudaMemsetAsync", memory, bytes, used);
  GiveWith(state, stream, "cudaMemsetAsync", std::move(used), [=] { std::memset(memory, value, bytes); });
  return cudaSuccess;
}

}  // extern "C"
