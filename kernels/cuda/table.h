// Tables of the cuda device: in the host's memory, for a step looks few of their rows up.
#pragma once

#include "kernels/cuda/memory.h"
#include "kernels/weights.h"

namespace bifrons::cuda {

struct CudaTable : Table {
  explicit CudaTable(size_t bytes_held) : numbers(bytes_held, "a table") { bytes = bytes_held; }
  PinnedMemory numbers;  // [rows, width]
  DType stored = DType::kF32;
};

}  // namespace bifrons::cuda
