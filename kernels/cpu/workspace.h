// What the work of one queue has at hand.
#pragma once

#include <algorithm>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/map_kernels.h"
#include "kernels/cpu/row_kernels.h"
#include "kernels/cpu/scratch.h"
#include "src/base/thread_pool.h"

namespace bifrons::cpu {

struct Workspace {
  Workspace(Isa set, ThreadPool& shared)
      : isa(set),
        rows(GetRowKernels(set)),
        maps(GetMapKernels(set)),
        pool(shared),
        scratch(shared.threads()) {}

  const Isa isa;
  const RowKernels& rows;
  const MapKernels& maps;
  ThreadPool& pool;  // the device's, which its queues share
  Scratch scratch;

  /// Deals tasks to the pool, unless they are too little work to wake it for.
  template <class Body>
  void Deal(int64_t tasks, int64_t elements_per_task, const Body& body) {
    constexpr int64_t kParallelElements = 16384;
    if (tasks * elements_per_task < kParallelElements) {
      if (tasks > 0) body(int64_t{0}, tasks, 0);
    } else {
      pool.ParallelFor(tasks, body);
    }
  }
};

}  // namespace bifrons::cpu
