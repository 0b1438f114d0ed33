// Numbers as they are printed.
#pragma once

#include <charconv>

namespace bifrons {

/// The double that prints as the float does: 0.7, not 0.699999988079071.
inline double Shortest(float value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  double shortest = value;
  std::from_chars(text, end, shortest);
  return shortest;
}

}  // namespace bifrons
