// Numbers for orders: cheap, and the same everywhere.
#pragma once

#include <cstdint>

namespace cuda_emulator {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u + 0x243F6A8885A308D3u) {}
  /// 0 … below − 1.
  uint32_t Below(uint32_t below) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<uint32_t>((state_ >> 32) * below >> 32);
  }

 private:
  uint64_t state_;
};

}  // namespace cuda_emulator
