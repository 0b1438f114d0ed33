// What the emulator's tests work on: streams and device memory that go with their scope.
#pragma once

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "kernels/cuda/portable.cuh"
#include "tests/cuda_on_cpu/emulator.h"
#include "tests/death.h"

namespace bifrons::cuda {

class Stream {
 public:
  Stream() { Check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream"); }
  ~Stream() { cudaStreamDestroy(stream_); }
  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

/// Device memory, until all work is done.
template <class T>
class Numbers {
 public:
  explicit Numbers(size_t count) : count_(count) { Check(cudaMalloc(&data_, count * sizeof(T)), "memory"); }
  explicit Numbers(const std::vector<T>& values) : Numbers(values.size()) {
    const Stream stream;
    Check(cudaMemcpyAsync(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice, stream),
          "a copy");
    Check(cudaStreamSynchronize(stream), "a copy");
  }
  ~Numbers() {
    cudaDeviceSynchronize();
    cudaFree(data_);
  }
  Numbers(const Numbers&) = delete;

  T* data() const { return data_; }
  std::vector<T> Fetch(cudaStream_t stream) const {
    std::vector<T> values(count_);
    Check(cudaMemcpyAsync(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost, stream),
          "a copy");
    Check(cudaStreamSynchronize(stream), "a copy");
    return values;
  }

 private:
  T* data_ = nullptr;
  size_t count_;
};

template <class Body>
void CheckAborts(const Body& body, const std::string& line) {
  const Death death = DeathOf(body);
  INFO("expected: " << line);
  CHECK(death.signal == SIGABRT);
  CHECK_THAT(death.err, Catch::Contains(line));
}

}  // namespace bifrons::cuda
