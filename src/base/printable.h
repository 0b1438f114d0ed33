// Names out of untrusted files, made fit for a one-line message.
#pragma once

#include <string>
#include <string_view>

namespace bifrons {

/// At most 120 bytes, control characters as '?'. UTF-8 passes through.
inline std::string Printable(std::string_view text) {
  constexpr size_t kLimit = 120;
  std::string out(text.substr(0, kLimit));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = '?';
  }
  if (text.size() > kLimit) {
    while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xC0) == 0x80) out.pop_back();
    out += "...";
  }
  return out;
}

}  // namespace bifrons
