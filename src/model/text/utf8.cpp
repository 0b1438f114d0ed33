#include "src/model/text/utf8.h"

#include <algorithm>

namespace bifrons {

CodePoint DecodeUtf8(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  int length = 0;
  // The second byte's limits exclude overlong forms, surrogates and values above U+10FFFF (Unicode, table
  // 3-7).
  uint8_t low = 0x80, high = 0xBF;
  char32_t value = 0;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2, value = lead & 0x1F;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3, value = lead & 0x0F;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4, value = lead & 0x07;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {};
  }
  for (int i = 1; i < length; i++) {
    if (static_cast<size_t>(i) >= text.size() || byte(i) < low || byte(i) > high) return {0xFFFD, i, false};
    value = value << 6 | (byte(i) & 0x3F);
    low = 0x80, high = 0xBF;
  }
  return {value, length, true};
}

void AppendUtf8(char32_t c, std::string& out) {
  if (c < 0x80) {
    out += static_cast<char>(c);
    return;
  }
  if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
  } else {
    if (c < 0x10000) {
      out += static_cast<char>(0xE0 | c >> 12);
    } else {
      out += static_cast<char>(0xF0 | c >> 18);
      out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    }
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
  }
  out += static_cast<char>(0x80 | (c & 0x3F));
}

std::string ReplaceInvalidUtf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (size_t i = 0; i < bytes.size();) {
    const CodePoint c = DecodeUtf8(bytes.substr(i));
    if (c.valid) {
      out.append(bytes, i, c.bytes);
    } else {
      out += "\xEF\xBF\xBD";
    }
    i += c.bytes;
  }
  return out;
}

std::string OneLine(std::string message) {
  constexpr size_t kLongest = 600, kEnd = 200;
  if (message.size() > kLongest) {
    message = ReplaceInvalidUtf8(message.substr(0, kLongest - kEnd) + " ... " +
                                 message.substr(message.size() - kEnd));
  }
  for (char& c : message) {
    if (static_cast<uint8_t>(c) < 0x20 || c == 0x7F) c = '?';
  }
  // U+0080 to U+009F control terminals as well.
  for (size_t at = 0; (at = message.find('\xC2', at)) != std::string::npos; at++) {
    const auto next = at + 1 < message.size() ? static_cast<uint8_t>(message[at + 1]) : 0;
    if (next >= 0x80 && next <= 0x9F) message.replace(at, 2, "?");
  }
  return message;
}

bool IsWhiteSpace(char32_t c) {
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

std::string_view StripPythonWhitespace(std::string_view text) {
  const auto is_space = [](char32_t c) { return IsWhiteSpace(c) || (c >= 0x1C && c <= 0x1F); };
  while (!text.empty()) {
    const CodePoint c = DecodeUtf8(text);
    if (!is_space(c.value)) break;
    text.remove_prefix(c.bytes);
  }
  while (!text.empty()) {
    size_t start = text.size() - 1;
    while (start > 0 && (text[start] & 0xC0) == 0x80) start--;
    if (!is_space(DecodeUtf8(text.substr(start)).value)) break;
    text = text.substr(0, start);
  }
  return text;
}

}  // namespace bifrons
