// A number of things, as people write it.
#pragma once

#include <cstdint>
#include <string>

namespace bifrons {

/// "1 tensor", "4 tensors"; of nouns whose plural has an s.
inline std::string Counted(int64_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

}  // namespace bifrons
