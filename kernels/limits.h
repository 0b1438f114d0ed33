// What this machine can do at most, measured: the yardsticks of `bench` and of -v.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/ops.h"

namespace bifrons {

/// Bytes of all last-level caches of this machine together; 0 when the system does not tell. Files are read
/// below `root`: another folder than "" is for tests.
size_t LastLevelCacheBytes(const std::string& root = "");

/// Bytes to read for the memory's speed, where `cache` and `available` are LastLevelCacheBytes() and
/// AvailableMemory(): so many times the caches that they hardly help (measured: from four times on the figure
/// stays), and at most a small share of what is available. Whole MB, at least one.
size_t BandwidthArenaBytes(size_t cache, uint64_t available);

/// Bytes per second at which the pool's threads read from memory (best of a few passes). Allocates
/// BandwidthArenaBytes meanwhile. Where memory is so short that these fit the caches, it is these that are
/// measured.
double MeasureBandwidth(ThreadPool&);

/// Multiply-accumulates per second of a loop that never leaves the registers, with the instructions that
/// `ops` uses for `compute` (f32, bf16). For the ref backend: one scalar f32 sum per thread after another.
double MeasureMacRate(ThreadPool&, const Ops&, DType compute);

}  // namespace bifrons
