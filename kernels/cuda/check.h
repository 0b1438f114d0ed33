// Errors of the CUDA runtime as exceptions.
#pragma once

#include <cuda_runtime.h>

namespace bifrons::cuda {

/// Throws what Check says of an error that is one.
[[noreturn]] void Throw(cudaError_t error, const char* what);

/// Nothing for cudaSuccess; std::bad_alloc when the device or pinned memory is full; else std::runtime_error
/// with one line, "CUDA: <what>: <the runtime's words>".
inline void Check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) [[unlikely]]
    Throw(error, what);
}

}  // namespace bifrons::cuda
