// Pictures for tests.
#pragma once

#include <catch2/catch.hpp>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "src/base/atomic_file.h"
#include "vision/image.h"
#include "vision/png.h"

namespace bifrons {

inline Image NoiseImage(int64_t width, int64_t height, uint32_t seed) {
  std::mt19937 random(seed);
  Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width * height * 3))};
  for (uint8_t& v : image.rgb) v = static_cast<uint8_t>(random());
  return image;
}

/// A PNG file of rgb [height, width, 3], without texts.
inline void WritePng(const std::string& path, int64_t width, int64_t height, std::span<const uint8_t> rgb) {
  const auto bytes = EncodePng(width, height, rgb, {});
  REQUIRE(bytes.ok());
  REQUIRE(WriteFileAtomically(path, *bytes).ok());
}

/// A PNG file of blocks and noise, another one for every seed.
inline void WriteTestPicture(const std::string& path, int width, int height, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> rgb;
  const uint32_t block = 1 + random() % 8, base = random();
  for (int y = 0; y < height; y++) {
    for (int x = 0; x < width; x++) {
      const uint32_t where = static_cast<uint32_t>(x) / block * 31 + static_cast<uint32_t>(y) / block * 57;
      for (uint32_t c = 0; c < 3; c++)
        rgb.push_back(static_cast<uint8_t>((base >> (8 * c)) + where * (c + 1) + random() % 32));
    }
  }
  WritePng(path, width, height, rgb);
}

}  // namespace bifrons
