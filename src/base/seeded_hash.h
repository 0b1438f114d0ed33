// Hashes for keys that come out of untrusted files.
#pragma once

#include <sys/random.h>

#include <cstdint>
#include <cstring>
#include <string_view>

namespace bifrons {

/// A polynomial modulo 2^61 − 1 at a point that is drawn once per process: nobody can write a file whose keys
/// collide, as they can for std::hash. What depends on its values is only how a table lies in memory.
class SeededHash {
 public:
  using is_transparent = void;

  size_t operator()(std::string_view text) const noexcept {
    constexpr size_t kChunk = 7;  // bytes, so that a chunk is less than the modulus
    const Seed& seed = Drawn();
    uint64_t hash = Times(text.size() + 1, seed.point);
    for (; text.size() > kChunk; text.remove_prefix(kChunk))
      hash = Times(hash + Load(text, kChunk), seed.point);
    return Times(hash + Load(text, text.size()), seed.factor);
  }
  size_t operator()(uint64_t key) const noexcept {
    const Seed& seed = Drawn();
    return Times(Times(key >> 32, seed.point) + (key & 0xFFFFFFFF), seed.factor);
  }

 private:
  static constexpr uint64_t kModulus = (uint64_t{1} << 61) - 1;

  struct Seed {
    uint64_t point = 0x1B873593CC9E2D51, factor = 0x05EBCA6BC2B2AE35;  // where the system has no random bytes
    Seed() {
      uint64_t drawn[2];
      if (getentropy(drawn, sizeof drawn) != 0) return;
      point = drawn[0] % (kModulus - 1) + 1;
      factor = drawn[1] % (kModulus - 1) + 1;
    }
  };
  static const Seed& Drawn() {
    static const Seed seed;
    return seed;
  }
  static uint64_t Load(std::string_view text, size_t bytes) {
    uint64_t value = 0;
    if (bytes > 0) std::memcpy(&value, text.data(), bytes);  // an empty text may lie nowhere
    return value;
  }
  static uint64_t Times(uint64_t a, uint64_t b) {
    const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
    const uint64_t sum = (static_cast<uint64_t>(product) & kModulus) + static_cast<uint64_t>(product >> 61);
    return sum >= kModulus ? sum - kModulus : sum;
  }
};

}  // namespace bifrons
