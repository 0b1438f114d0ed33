// A picture as bytes.
#pragma once

#include <cstdint>
#include <vector>

namespace bifrons {

struct Image {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> rgb;  // [height, width, 3]
};

}  // namespace bifrons
