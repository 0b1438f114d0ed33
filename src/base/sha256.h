// SHA-256 (FIPS 180-4), for naming files by their contents.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace bifrons {

class Sha256 {
 public:
  void Update(std::span<const uint8_t> bytes);
  /// 64 lower-case hexadecimal digits. The object is spent afterwards.
  std::string Finish();

  static std::string Hex(std::span<const uint8_t> bytes);
  static std::string Hex(std::string_view text) {
    return Hex(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  }

 private:
  void Blocks(const uint8_t* data, size_t count);

  std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<uint8_t, 64> pending_{};
  size_t pending_size_ = 0;
  uint64_t total_ = 0;  // bytes
};

}  // namespace bifrons
