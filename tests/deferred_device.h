// A device that punishes cheating: the ref device's arithmetic, but
//   * its memory, keys and values included, is one arena that nobody can read or write outside an op or a
//     download, poisoned when it is taken and when it is given back;
//   * work is done only when somebody waits for it, by the one who waits;
//   * its queues' work is interleaved in any order that their tickets allow, drawn from a seed.
// Who uses a buffer that was dropped, waits for a queue that is gone, or makes two queues wait for each
// other, ends the process with a line.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/device.h"

namespace bifrons {

std::unique_ptr<Device> MakeDeferredDevice(uint64_t seed, int threads = 1);

/// Work that is not done yet is lost for want of memory, and the next wait says so.
void LoseWork(Device& deferred);

/// The arena's first byte, for tests that plant a read by the host.
const volatile uint8_t* ArenaOf(const Device& deferred);

}  // namespace bifrons
