#include "kernels/cuda/memory.h"

#include <algorithm>
#include <cstring>

#include "src/base/out_of_memory.h"

namespace bifrons::cuda {
namespace {

constexpr size_t kStagingBytes = size_t{8} << 20;

// Before anything is made on the device.
int Chosen(int device) {
  Check(cudaSetDevice(device), "choosing the device");
  return device;
}

cudaStream_t NewStream() {
  cudaStream_t stream = nullptr;
  Check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a stream");
  return stream;
}

cudaEvent_t NewEvent() {
  cudaEvent_t event = nullptr;
  Check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "an event");
  return event;
}

cudaMemPool_t PoolOf(int device) {
  cudaMemPool_t pool = nullptr;
  Check(cudaDeviceGetDefaultMemPool(&pool, device), "the memory pool");
  return pool;
}

// What the pool has taken from the driver it keeps, instead of giving it back whenever somebody waits.
void KeepPooled(int device) {
  uint64_t all = ~uint64_t{0};
  Check(cudaMemPoolSetAttribute(PoolOf(device), cudaMemPoolAttrReleaseThreshold, &all), "the memory pool");
}

}  // namespace

PinnedMemory::PinnedMemory(size_t bytes, const char* what_for) {
  void* memory = nullptr;
  const cudaError_t error = cudaMallocHost(&memory, std::max<size_t>(bytes, 1));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw OutOfMemory(bytes, what_for);
  }
  Check(error, "pinned memory");
  data_ = static_cast<uint8_t*>(memory);
}

PinnedMemory::~PinnedMemory() { cudaFreeHost(data_); }

DeviceMemory::DeviceMemory(int device)
    : device_(Chosen(device)), staging_(kStagingBytes, "bringing weights") {
  KeepPooled(device);
  taking_ = NewStream(), returning_ = NewStream(), bringing_ = NewStream();
  for (cudaEvent_t& event : brought_) event = NewEvent();
}

DeviceMemory::~DeviceMemory() {
  MakeCurrent();
  for (cudaEvent_t event : brought_) cudaEventDestroy(event);
  for (cudaStream_t stream : {taking_, returning_, bringing_}) {
    cudaStreamSynchronize(stream);
    cudaStreamDestroy(stream);
  }
}

void DeviceMemory::MakeCurrent() const {
  thread_local int current = -1;
  if (current == device_) return;
  Check(cudaSetDevice(device_), "choosing the device");
  current = device_;
}

// A stream that is behind nobody's work reaches a new block at once, unless the driver found no memory but
// what is still to come back.
uint8_t* DeviceMemory::Take(size_t bytes, const char* what_for) {
  MakeCurrent();
  void* block = nullptr;
  const cudaError_t error = cudaMallocAsync(&block, std::max<size_t>(bytes, 1), taking_);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw OutOfMemory(bytes, what_for, Memory::kGpu);
  }
  Check(error, "memory");
  Check(cudaStreamSynchronize(taking_), "memory");
  return static_cast<uint8_t*>(block);
}

// Destructors end here, so nothing is thrown; what fails here fails where the queue is waited for too.
void DeviceMemory::GiveBack(uint8_t* block) {
  cudaSetDevice(device_);  // of whatever thread this is
  const std::lock_guard lock(mutex_);
  for (const QueueStream& queue : queues_) {
    cudaEventRecord(queue.given, queue.stream);
    cudaStreamWaitEvent(returning_, queue.given);
  }
  cudaFreeAsync(block, returning_);
}

void DeviceMemory::Bring(const void* from, size_t bytes, uint8_t* to) {
  constexpr size_t kHalf = kStagingBytes / 2;
  MakeCurrent();
  const std::lock_guard lock(bringing_mutex_);
  int half = 0;
  for (size_t begin = 0; begin < bytes; begin += kHalf, half ^= 1) {
    uint8_t* staged = staging_.data() + static_cast<size_t>(half) * kHalf;
    const size_t count = std::min(kHalf, bytes - begin);
    Check(cudaEventSynchronize(brought_[half]), "bringing weights");
    std::memcpy(staged, static_cast<const uint8_t*>(from) + begin, count);
    Check(cudaMemcpyAsync(to + begin, staged, count, cudaMemcpyHostToDevice, bringing_), "bringing weights");
    Check(cudaEventRecord(brought_[half], bringing_), "bringing weights");
  }
  Check(cudaStreamSynchronize(bringing_), "bringing weights");
}

size_t DeviceMemory::FreeBytes() const {
  MakeCurrent();
  size_t free = 0, total = 0;
  Check(cudaMemGetInfo(&free, &total), "the device's memory");
  // What the pool keeps for the next who asks is as good as free.
  uint64_t reserved = 0, used = 0;
  const cudaMemPool_t pool = PoolOf(device_);
  Check(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &reserved), "the memory pool");
  Check(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used), "the memory pool");
  return free + static_cast<size_t>(reserved - std::min(reserved, used));
}

cudaStream_t DeviceMemory::MakeStream() {
  MakeCurrent();
  const std::lock_guard lock(mutex_);
  queues_.push_back({NewStream(), NewEvent()});
  return queues_.back().stream;
}

void DeviceMemory::EndStream(cudaStream_t stream) {
  MakeCurrent();
  const std::lock_guard lock(mutex_);
  const auto queue = std::find_if(queues_.begin(), queues_.end(),
                                  [stream](const QueueStream& q) { return q.stream == stream; });
  cudaEventDestroy(queue->given);
  cudaStreamDestroy(stream);
  queues_.erase(queue);
}

}  // namespace bifrons::cuda
