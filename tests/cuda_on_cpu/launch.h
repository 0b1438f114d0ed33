// A launch: all blocks of a grid.
#pragma once

#include <string>

#include "tests/cuda_on_cpu/block.h"

namespace cuda_emulator {

/// Runs the grid's blocks on so many threads of the host.
void RunGrid(const Grid& grid, int threads);

/// A kernel as the source has it, with its template's arguments; for lines that blame it.
std::string KernelName(const void* kernel);

}  // namespace cuda_emulator
