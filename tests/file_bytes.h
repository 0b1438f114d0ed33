// Parts of picture files, for tests that put together what no encoder writes.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>
#include <vector>

namespace bifrons {

inline std::vector<uint8_t> Bytes(const std::string& text) { return {text.begin(), text.end()}; }

/// The last `size` bytes of a number, most significant first.
inline std::string Big(uint32_t value, int size) {
  std::string text;
  for (int i = size - 1; i >= 0; i--) text += static_cast<char>(value >> (8 * i));
  return text;
}

/// The same, least significant first.
inline std::string Little(uint32_t value, int size) {
  const std::string big = Big(value, size);
  return {big.rbegin(), big.rend()};
}

/// A chunk of a PNG file, with its length and checksum.
inline std::string Chunk(const std::string& kind, const std::string& body) {
  const std::string both = kind + body;
  const auto sum = crc32(0, reinterpret_cast<const Bytef*>(both.data()), static_cast<uInt>(both.size()));
  return Big(static_cast<uint32_t>(body.size()), 4) + both + Big(static_cast<uint32_t>(sum), 4);
}

}  // namespace bifrons
