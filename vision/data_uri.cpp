#include "vision/data_uri.h"

#include <algorithm>
#include <string>

namespace bifrons {
namespace {

constexpr std::string_view kScheme = "data:";

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return x == y || (x >= 'A' && x <= 'Z' && x - 'A' + 'a' == y); });
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// 0–63; both alphabets of RFC 4648.
int Base64Digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  if (c == '/' || c == '_') return 63;
  return -1;
}

// Calls take(byte) for every byte that the text stands for; false at an incomplete escape.
template <class Take>
bool Unescape(std::string_view text, const Take& take) {
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] != '%') {
      take(text[i]);
      continue;
    }
    const int high = i + 1 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? HexDigit(text[i + 2]) : -1;
    if (high < 0 || low < 0) return false;
    take(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return true;
}

}  // namespace

bool IsDataUri(std::string_view source) {
  return source.size() >= kScheme.size() && EqualsIgnoringCase(source.substr(0, kScheme.size()), kScheme);
}

Result<std::vector<uint8_t>> DecodeDataUri(std::string_view uri, int64_t max_bytes) {
  const std::string name = "the data: URI";
  const size_t comma = uri.find(',');
  if (!IsDataUri(uri) || comma == std::string_view::npos) {
    return DataError(name + " has no comma before its data; write data:image/png;base64,…");
  }
  std::string_view head = uri.substr(kScheme.size(), comma - kScheme.size());
  while (!head.empty() && head.back() == ' ') head.remove_suffix(1);
  const std::string_view text = uri.substr(comma + 1);
  const size_t last = head.rfind(';');
  const bool base64 = last != std::string_view::npos && EqualsIgnoringCase(head.substr(last + 1), "base64");

  std::vector<uint8_t> bytes;
  bytes.reserve(std::min(base64 ? text.size() / 4 * 3 + 3 : text.size(), static_cast<size_t>(max_bytes)));
  bool too_long = false, wrong = false;
  uint32_t pending = 0;
  size_t digits = 0, padding = 0;
  const auto put = [&](uint32_t byte) {
    too_long = too_long || bytes.size() >= static_cast<size_t>(max_bytes);
    if (!too_long) bytes.push_back(static_cast<uint8_t>(byte));
  };
  const bool complete = Unescape(text, [&](char c) {
    if (!base64) return put(static_cast<uint8_t>(c));
    if (c == ' ' || (c >= 9 && c <= 13)) return;
    if (c == '=') {
      padding++;
      return;
    }
    const int digit = Base64Digit(c);
    wrong = wrong || digit < 0 || padding > 0;
    if (wrong) return;
    pending = pending << 6 | static_cast<uint32_t>(digit);
    if (++digits % 4 != 1) put(pending >> (4 - digits % 4) % 4 * 2 & 255);
  });
  if (!complete) return DataError(name + " has a '%' that two hexadecimal digits do not follow");
  if (too_long) {
    return DataError(name + " holds more than " + std::to_string(max_bytes) +
                     " bytes; use a smaller picture");
  }
  if (wrong || digits % 4 == 1 || padding > 2 || (padding > 0 && (digits + padding) % 4 != 0)) {
    return DataError(name + " is not valid base64" + (wrong ? "" : ": it is cut off"));
  }
  return bytes;
}

}  // namespace bifrons
