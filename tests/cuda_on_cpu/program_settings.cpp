// What the program on the emulator is told, in its environment: $CUDA_EMULATOR_ORDER (0…3), _SEED, _MEMORY
// (bytes), _DRIVER (what the driver answers, as a cudaError_t), _DRIVER_VERSION and _CAPABILITY.
#include <cstdlib>

#include "tests/cuda_on_cpu/emulator.h"

namespace cuda_emulator {
namespace {

uint64_t Number(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

const bool set = [] {
  Settings settings;
  settings.order = static_cast<Order>(Number("CUDA_EMULATOR_ORDER", 0) % 4);
  settings.seed = Number("CUDA_EMULATOR_SEED", settings.seed);
  settings.memory_bytes = Number("CUDA_EMULATOR_MEMORY", settings.memory_bytes);
  settings.driver = static_cast<cudaError_t>(Number("CUDA_EMULATOR_DRIVER", cudaSuccess));
  settings.driver_version = static_cast<int>(Number("CUDA_EMULATOR_DRIVER_VERSION", settings.driver_version));
  settings.capability = static_cast<int>(Number("CUDA_EMULATOR_CAPABILITY", settings.capability));
  Set(settings);
  return true;
}();

}  // namespace
}  // namespace cuda_emulator
