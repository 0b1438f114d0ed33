// What this machine can do at most, measured: the yardsticks of `bench` and of -v.
#pragma once

#include "kernels/ops.h"

namespace bifrons {

/// Bytes per second at which the pool's threads read an arena of `arena_bytes` from memory (best of a few
/// passes). Allocates the arena: pass about the size of the weights, which must exceed the last-level cache.
double MeasureBandwidth(ThreadPool&, size_t arena_bytes);

/// Multiply-accumulates per second of a loop that never leaves the registers, with the instructions that
/// `ops` uses for `compute` (f32, bf16). For the ref backend: one scalar f32 sum per thread after another.
double MeasureMacRate(ThreadPool&, const Ops&, DType compute);

}  // namespace bifrons
