// Hashes as text.
#pragma once

#include <cstddef>
#include <string_view>

namespace bifrons {

/// Whether it consists of exactly `digits` lower-case hexadecimal digits.
inline bool IsLowerHex(std::string_view text, size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == text.npos;
}

}  // namespace bifrons
