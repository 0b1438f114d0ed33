// What this machine's processor can do at most, measured: the yardsticks of `bench` and of -v.
#pragma once

#include "kernels/cpu/isa.h"
#include "src/base/dtype.h"
#include "src/base/thread_pool.h"

namespace bifrons::cpu {

/// Device::MeasureBandwidth, by all threads of the pool.
double MeasureBandwidth(ThreadPool&, size_t arena_bytes);

/// Device::MeasureMacRate.
double MeasureMacRate(ThreadPool&, Isa, DType compute);

}  // namespace bifrons::cpu
