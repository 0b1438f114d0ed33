// Names out of untrusted files, made fit for a one-line message.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace bifrons {

/// Bytes of the UTF-8 character that `text` begins with; 0 where there is none.
inline size_t Utf8CharacterSize(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  if (text.empty()) return 0;
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (text.size() < size) return 0;
  for (size_t i = 1; i < size; i++)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  // Longer than need be, surrogates, beyond Unicode.
  const bool wrong = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xED && byte(1) > 0x9F) ||
                     (lead == 0xF0 && byte(1) < 0x90) || (lead == 0xF4 && byte(1) > 0x8F);
  return wrong ? 0 : size;
}

/// At most 120 bytes; control characters, and bytes that are no UTF-8, as '?'.
inline std::string Printable(std::string_view text) {
  constexpr size_t kLimit = 120;
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t size = Utf8CharacterSize(text.substr(at));
    const std::string_view character = text.substr(at, std::max<size_t>(size, 1));
    if (out.size() + character.size() > kLimit) return out + "...";
    const auto first = static_cast<unsigned char>(character[0]);
    const bool control = first < 32 || first == 127 ||
                         (first == 0xC2 && size == 2 && static_cast<unsigned char>(character[1]) < 0xA0);
    out += size == 0 || control ? "?" : character;
    at += character.size();
  }
  return out;
}

}  // namespace bifrons
