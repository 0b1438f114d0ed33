// What tests/goldens/make_images.py wrote, and pictures that need no file.
#pragma once

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "src/base/mapped_file.h"
#include "src/base/sha256.h"
#include "vision/image.h"

namespace bifrons {

inline std::string ImageFolder() { return std::string(BIFRONS_TEST_DIR) + "/goldens/images/"; }

/// The rows of a .tsv file, as streams of their fields.
inline std::vector<std::istringstream> GoldenRows(const std::string& name) {
  std::ifstream file(ImageFolder() + name);
  std::vector<std::istringstream> rows;
  for (std::string line; std::getline(file, line);) rows.emplace_back(line);
  return rows;
}

inline std::vector<uint8_t> FileBytes(const std::string& name) {
  const MappedFile file = MappedFile::Open(ImageFolder() + name).value();
  return {file.bytes().begin(), file.bytes().end()};
}

/// make_images.py's formula(width, height).
inline Image Formula(int64_t width, int64_t height) {
  Image image{width, height, {}};
  image.rgb.reserve(static_cast<size_t>(width * height * 3));
  for (int64_t y = 0; y < height; y++) {
    for (int64_t x = 0; x < width; x++) {
      for (int64_t c = 0; c < 3; c++) {
        const int64_t value = x * x * 3 + y * 7 * (c + 1) + x * y / 5 + (x / 9 + y / 7) % 2 * 90 + c * 40;
        image.rgb.push_back(static_cast<uint8_t>(value));
      }
    }
  }
  return image;
}

inline std::string Sha(const Image& image) { return Sha256::Hex(std::span<const uint8_t>(image.rgb)); }

}  // namespace bifrons
