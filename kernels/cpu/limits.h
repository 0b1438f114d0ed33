// What this machine's processor can do at most, measured: the yardsticks of `bench` and of -v.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/cpu/isa.h"
#include "src/base/dtype.h"
#include "src/base/thread_pool.h"

namespace bifrons::cpu {

/// Bytes of all last-level caches of this machine together; 0 when the system does not tell. Files are read
/// below `root`: another folder than "" is for tests.
size_t LastLevelCacheBytes(const std::string& root = "");

/// Bytes to read for the memory's speed, where `cache` and `available` are LastLevelCacheBytes() and
/// AvailableMemory(): so many times the caches that they hardly help (measured: from four times on the figure
/// stays), and at most a small share of what is available. Whole MB, at least one.
size_t BandwidthArenaBytes(size_t cache, uint64_t available);

/// Device::MeasureBandwidth, by all threads of the pool, over an arena of BandwidthArenaBytes.
double MeasureBandwidth(ThreadPool&);

/// Device::MeasureMacRate.
double MeasureMacRate(ThreadPool&, Isa, DType compute);

}  // namespace bifrons::cpu
