// Numbers as they are printed.
#pragma once

#include <charconv>
#include <string>

namespace bifrons {

/// The shortest text that reads back as the same number.
template <class T>
std::string ShortestText(T value) {
  char text[64];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

/// The double that prints as the float does: 0.7, not 0.699999988079071.
inline double Shortest(float value) {
  const std::string text = ShortestText(value);
  double shortest = value;
  std::from_chars(text.data(), text.data() + text.size(), shortest);
  return shortest;
}

}  // namespace bifrons
