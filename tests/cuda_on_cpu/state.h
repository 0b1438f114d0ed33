// What the host's calls share: the emulated device, theirs one by one.
#pragma once

#include <mutex>

#include "tests/cuda_on_cpu/emulator.h"
#include "tests/cuda_on_cpu/memory.h"
#include "tests/cuda_on_cpu/stream.h"

namespace cuda_emulator {

struct State {
  std::recursive_mutex mutex;
  Settings settings;
  Arena arena;
  PinnedMemory pinned;
  Streams streams;
  std::map<const void*, size_t> allowed_shared;  // by kernel, bytes
  uint64_t launched = 0, touched = 0;
};

inline State& TheState() {
  static auto* const state = new State;  // never goes: memory may be freed after main
  return *state;
}

/// For the time of a call the emulator is its alone; then the device's memory is closed again.
struct Call {
  Call() : state(TheState()), lock(state.mutex) {}
  ~Call() { state.arena.Close(); }
  Call(const Call&) = delete;
  State& state;
  std::lock_guard<std::recursive_mutex> lock;
};

inline thread_local cudaError_t last_error = cudaSuccess;

inline cudaError_t Failed(cudaError_t error) {
  last_error = error;
  return error;
}

inline void Require(bool right, const char* call, const char* what) {
  if (!right) Die("%s: %s", call, what);
}

}  // namespace cuda_emulator

#define NEEDS_A_DRIVER()    \
  const Call now;           \
  State& state = now.state; \
  if (state.settings.driver != cudaSuccess) return Failed(state.settings.driver)
