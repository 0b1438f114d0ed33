#include "kernels/cuda/check.h"

#include <new>
#include <stdexcept>
#include <string>

namespace bifrons::cuda {

void Throw(cudaError_t error, const char* what) {
  cudaGetLastError();  // else the next launch would be blamed for it
  if (error == cudaErrorMemoryAllocation) throw std::bad_alloc();
  throw std::runtime_error(std::string("CUDA: ") + what + ": " + cudaGetErrorString(error));
}

}  // namespace bifrons::cuda
