// Stands in for CUDA's header of this name where kernels run on the CPU: the part of the runtime that
// kernels/cuda uses, as CUDA 13 documents it, and the words of kernels as host C++. What is not here does not
// compile, and what is documented otherwise than it is used ends the process with a line.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__

// ---- types
// -------------------------------------------------------------------------------------------------

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct uint3 {
  unsigned x, y, z;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
struct dim3 {
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  unsigned x, y, z;
};

inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }

using std::max;
using std::min;

enum cudaError_t : int {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorNotReady = 600,
  cudaErrorStreamCaptureInvalidated = 901,
};

enum cudaMemcpyKind : int {
  cudaMemcpyHostToDevice = 1,
  cudaMemcpyDeviceToHost = 2,
  cudaMemcpyDeviceToDevice = 3
};

using cudaStream_t = struct CUstream_st*;
using cudaEvent_t = struct CUevent_st*;
using cudaGraph_t = struct CUgraph_st*;
using cudaGraphExec_t = struct CUgraphExec_st*;
enum cudaStreamCaptureMode : int { cudaStreamCaptureModeThreadLocal = 1 };
constexpr unsigned cudaStreamNonBlocking = 1;
constexpr unsigned cudaEventDefault = 0, cudaEventBlockingSync = 1, cudaEventDisableTiming = 2;
constexpr unsigned cudaHostAllocDefault = 0, cudaHostAllocPortable = 1, cudaHostAllocMapped = 2;
constexpr unsigned cudaHostRegisterDefault = 0, cudaHostRegisterPortable = 1, cudaHostRegisterMapped = 2,
                   cudaHostRegisterReadOnly = 8;

struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem, sharedMemPerBlock, sharedMemPerBlockOptin;
  int major, minor;
  int multiProcessorCount, maxThreadsPerBlock, warpSize, l2CacheSize, integrated;
  int pciDomainID, pciBusID, pciDeviceID;
};

enum cudaDeviceAttr : int {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrL2CacheSize = 38,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
  cudaDevAttrMemoryPoolsSupported = 115,
};

using cudaMemPool_t = struct CUmemPoolHandle_st*;
enum cudaMemPoolAttr : int {
  cudaMemPoolAttrReleaseThreshold = 4,
  cudaMemPoolAttrReservedMemCurrent = 5,
  cudaMemPoolAttrUsedMemCurrent = 7
};
enum cudaFuncAttribute : int { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

struct cudaLaunchAttribute;
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};

// ---- the host's calls
// --------------------------------------------------------------------------------------

extern "C" {
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();

cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value);

cudaError_t cudaMalloc(void** memory, size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaMallocAsync(void** memory, size_t bytes, cudaStream_t stream);
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream);
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device);
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value);
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value);
cudaError_t cudaMallocHost(void** memory, size_t bytes);
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void* memory);
cudaError_t cudaHostRegister(void* memory, size_t bytes, unsigned flags);
cudaError_t cudaHostUnregister(void* memory);
cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned flags);

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream);

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end);

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);
}

// CUDA's C++ header lets pointers of any type in and defaults the last argument of three calls.
template <class T>
cudaError_t cudaMalloc(T** memory, size_t bytes) {
  return cudaMalloc(reinterpret_cast<void**>(memory), bytes);
}
template <class T>
cudaError_t cudaMallocAsync(T** memory, size_t bytes, cudaStream_t stream) {
  return cudaMallocAsync(reinterpret_cast<void**>(memory), bytes, stream);
}
template <class T>
cudaError_t cudaMallocHost(T** memory, size_t bytes) {
  return cudaMallocHost(reinterpret_cast<void**>(memory), bytes);
}
template <class T>
cudaError_t cudaHostAlloc(T** memory, size_t bytes, unsigned flags) {
  return cudaHostAlloc(reinterpret_cast<void**>(memory), bytes, flags);
}
inline cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}
inline cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event) {
  return cudaStreamWaitEvent(stream, event, 0);
}

// ---- the emulator's side
// -----------------------------------------------------------------------------------

namespace cuda_emulator {

struct LanePlace {
  uint3 thread;
};
/// Of the thread that runs; null outside kernels.
extern constinit thread_local const LanePlace* here;

/// A line and abort.
[[noreturn]] void Die(const char* format, ...) __attribute__((format(printf, 1, 2)));

enum class Meeting : uint8_t { kShuffle, kBallot, kSyncWarp, kMultiplyTile, kLoadMatrices, kLoadTransposed };
/// Waits until all lanes of the warp are at a meeting of this kind; what each of the 32 brought, until this
/// lane's next one.
const uint64_t* Meet(Meeting kind, unsigned mask, uint64_t brought);
/// Of the thread that runs, in its warp.
int LaneNumber();
/// __syncthreads() at a place in the source.
void Barrier(const char* file, int line);
/// What a lane brings to mma.sync.m16n8k16 of bf16: the lane that comes last multiplies for all.
struct TileOperands {
  uint4 a;
  uint2 b;
  float* sums;  // [4]
};
inline void MultiplyTile(float (&sums)[4], uint4 a, uint2 b) {
  TileOperands operands{a, b, sums};
  Meet(Meeting::kMultiplyTile, 0xFFFFFFFFu, reinterpret_cast<uintptr_t>(&operands));
}
/// ldmatrix.x4, and .trans
uint4 LoadMatrices(const void* row);
uint4 LoadMatricesTransposed(const void* row);
/// cp.async of 16 bytes, zeros after the first `count`; commit_group; wait_group. A copy is made by the wait
/// for it and not before; one that nobody waits for is never made.
void CopyAsync(void* to, const void* from, int count);
void GroupCopies();
void WaitForCopies(int left);
void* DynamicShared();
/// The block's array of that site in the source, NaN before it is written.
void* SharedBytes(const void* site, size_t bytes);
template <class T, size_t n>
auto SharedArray(const void* site) -> T (&)[n] {
  static_assert(std::is_trivially_copyable_v<T>);
  return *static_cast<T(*)[n]>(SharedBytes(site, sizeof(T[n])));
}

/// A number that a kernel is given: a pointer, or part of a struct that may hold one.
struct Address {
  const void* value;
  bool is_pointer;
};
template <class T>
void AddAddresses(std::vector<Address>& addresses, const T& argument) {
  static_assert(std::is_trivially_copyable_v<T>, "kernels are given plain data");
  if constexpr (std::is_pointer_v<T>) {
    addresses.push_back({argument, true});
  } else if constexpr (std::is_class_v<T>) {
#if __has_builtin(__builtin_clear_padding)  // which may hold any old address
    T members = argument;
    __builtin_clear_padding(&members);
    for (size_t at = 0; at + sizeof(void*) <= sizeof(T); at += sizeof(void*)) {
      const void* word;
      std::memcpy(&word, reinterpret_cast<const unsigned char*>(&members) + at, sizeof word);
      addresses.push_back({word, false});
    }
#endif
  }
}
cudaError_t Launch(const cudaLaunchConfig_t& config, const void* kernel, std::vector<Address> addresses,
                   std::function<void()> thread);

template <class T>
uint64_t BitsOf(T value) {
  static_assert((sizeof(T) == 4 || sizeof(T) == 8) && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}
template <class T>
T Of(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace cuda_emulator

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments));
  static_assert((sizeof(Parameters) + ... + 0) <= 4096, "arguments of a kernel have 4096 bytes");
  const std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
  std::vector<cuda_emulator::Address> addresses;
  std::apply([&](const auto&... each) { (cuda_emulator::AddAddresses(addresses, each), ...); }, values);
  return cuda_emulator::Launch(*config, reinterpret_cast<const void*>(kernel), std::move(addresses),
                               [kernel, values] { std::apply(kernel, values); });
}

// ---- the words of kernels
// ----------------------------------------------------------------------------------

#define threadIdx (::cuda_emulator::here->thread)
extern constinit thread_local uint3 blockIdx;
extern constinit thread_local dim3 blockDim, gridDim;
#define __syncthreads() ::cuda_emulator::Barrier(__FILE__, __LINE__)

template <class T>
T __shfl_sync(unsigned mask, T value, int lane) {
  if (lane < 0 || lane > 31) ::cuda_emulator::Die("a shuffle from lane %d", lane);
  return cuda_emulator::Of<T>(
      cuda_emulator::Meet(cuda_emulator::Meeting::kShuffle, mask, cuda_emulator::BitsOf(value))[lane]);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask) {
  return __shfl_sync(mask, value, cuda_emulator::LaneNumber() ^ lane_mask);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta) {
  const int from = cuda_emulator::LaneNumber() + static_cast<int>(delta);
  return __shfl_sync(mask, value, from > 31 ? cuda_emulator::LaneNumber() : from);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const uint64_t* all = cuda_emulator::Meet(cuda_emulator::Meeting::kBallot, mask, predicate != 0);
  unsigned bits = 0;
  for (int lane = 0; lane < 32; lane++) bits |= static_cast<unsigned>(all[lane]) << lane;
  return bits;
}
inline void __syncwarp() { cuda_emulator::Meet(cuda_emulator::Meeting::kSyncWarp, 0xFFFFFFFFu, 0); }
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

inline int atomicAdd(int* p, int v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
inline unsigned atomicAdd(unsigned* p, unsigned v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
inline unsigned long long atomicAdd(unsigned long long* p, unsigned long long v) {
  return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}
namespace cuda_emulator {
template <class T>
T AtomicMax(T* p, T v) {
  T old = __atomic_load_n(p, __ATOMIC_RELAXED);
  while (old < v && !__atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}
template <class T>
T AtomicCas(T* p, T expected, T v) {
  __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}
}  // namespace cuda_emulator
inline int atomicMax(int* p, int v) { return cuda_emulator::AtomicMax(p, v); }
inline unsigned atomicMax(unsigned* p, unsigned v) { return cuda_emulator::AtomicMax(p, v); }
inline unsigned long long atomicMax(unsigned long long* p, unsigned long long v) {
  return cuda_emulator::AtomicMax(p, v);
}
inline int atomicCAS(int* p, int expected, int v) { return cuda_emulator::AtomicCas(p, expected, v); }
inline unsigned atomicCAS(unsigned* p, unsigned expected, unsigned v) {
  return cuda_emulator::AtomicCas(p, expected, v);
}
inline unsigned long long atomicCAS(unsigned long long* p, unsigned long long expected,
                                    unsigned long long v) {
  return cuda_emulator::AtomicCas(p, expected, v);
}

inline unsigned __float_as_uint(float x) { return cuda_emulator::Of<unsigned>(cuda_emulator::BitsOf(x)); }
inline float __uint_as_float(unsigned x) { return cuda_emulator::Of<float>(x); }
inline int __dp4a(int a, int b, int sum) {
  for (int i = 0; i < 4; i++) sum += static_cast<int8_t>(a >> 8 * i) * static_cast<int8_t>(b >> 8 * i);
  return sum;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(uint64_t{a} * b >> 32); }
inline long long __double_as_longlong(double x) {
  return cuda_emulator::Of<long long>(cuda_emulator::BitsOf(x));
}
inline double __longlong_as_double(long long x) {
  return cuda_emulator::Of<double>(static_cast<uint64_t>(x));
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
