// Memory of one GPU, and the host's memory that it can reach.
#pragma once

#include <mutex>
#include <vector>

#include "kernels/cuda/check.h"
#include "kernels/view.h"

namespace bifrons::cuda {

/// Memory that the GPU reads and writes over the bus, and copies from and to beside the host's work. Throws
/// OutOfMemory, whose text goes on with `what_for`.
class PinnedMemory {
 public:
  PinnedMemory(size_t bytes, const char* what_for);
  ~PinnedMemory();
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  /// One address for host and device.
  uint8_t* data() const { return data_; }

 private:
  uint8_t* data_ = nullptr;
};

/// What all parts of a device share: the GPU's memory and its streams. From any thread.
///
/// Blocks come from the driver's pool, in stream order: a block is given back behind all that the queues were
/// given before, and the pool hands its memory out again once that is done. Nobody waits for that unless
/// there is no other memory.
class DeviceMemory {
 public:
  explicit DeviceMemory(int device);
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  /// Makes the GPU the calling thread's: every call of the runtime is for the current one.
  void MakeCurrent() const;
  int device() const { return device_; }

  /// A block, 256-byte aligned, of arbitrary content, that all streams may use at once. Throws OutOfMemory.
  uint8_t* Take(size_t bytes, const char* what_for);
  /// Frees a block once all that queues were given so far is done.
  void GiveBack(uint8_t* block);
  /// As long as it is held, nobody's blocks come back and no stream is made or ends: a queue's stream is left
  /// alone by other threads.
  std::unique_lock<std::mutex> HoldStreams() { return std::unique_lock(mutex_); }
  /// Host memory to a block; `from` may go away afterwards, and all streams see the numbers.
  void Bring(const void* from, size_t bytes, uint8_t* to);
  /// Bytes for other work, of all that the GPU has.
  size_t FreeBytes() const;

  /// A new queue's stream, and the end of one whose work is done.
  cudaStream_t MakeStream();
  void EndStream(cudaStream_t stream);

 private:
  struct QueueStream {
    cudaStream_t stream;
    cudaEvent_t given;  // what the stream was given when a block came back
  };

  const int device_;
  std::mutex mutex_;
  std::vector<QueueStream> queues_;
  cudaStream_t taking_ = nullptr;     // where blocks are taken: never behind anybody's work
  cudaStream_t returning_ = nullptr;  // where they come back: behind the queues'

  std::mutex bringing_mutex_;
  cudaStream_t bringing_ = nullptr;
  cudaEvent_t brought_[2] = {};  // when a half of staging_ may be written again
  PinnedMemory staging_;
};

/// A stream of one's own for a while; what it was given is done when it goes.
class OwnStream {
 public:
  explicit OwnStream(DeviceMemory& memory) : memory_(memory), stream_(memory.MakeStream()) {}
  ~OwnStream() {
    cudaStreamSynchronize(stream_);
    memory_.EndStream(stream_);
  }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  DeviceMemory& memory_;
  cudaStream_t stream_;
};

/// A block, given back when it goes.
class CudaBuffer final : public Buffer {
 public:
  CudaBuffer(DeviceMemory& memory, size_t bytes, const char* what_for = "buffers")
      : Buffer(bytes), memory_(memory), data_(memory.Take(bytes, what_for)) {}
  ~CudaBuffer() override { memory_.GiveBack(data_); }

  /// Of use to kernels and copies alone.
  uint8_t* data() const { return data_; }

 private:
  DeviceMemory& memory_;
  uint8_t* data_;
};

/// The first byte of a view; null for an empty one.
inline uint8_t* Bytes(const View& v) {
  return v.empty() ? nullptr : static_cast<const CudaBuffer*>(v.buffer)->data() + v.offset;
}

/// The first number of a view of that type.
template <class T>
T* At(const View& v) {
  BIFRONS_CHECK(v.empty() || v.type == DTypeOf<T>());
  return reinterpret_cast<T*>(Bytes(v));
}

/// Whether kernels may load and store 16 bytes at once from every multiple of them on.
inline bool Aligned16(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }
/// The same for every row.
inline bool Aligned16(const View& v) {
  return Aligned16(Bytes(v)) && (v.rows() <= 1 || v.stride_bytes() % 16 == 0) && v.row_bytes() % 16 == 0;
}

}  // namespace bifrons::cuda
