// A limit that JSON parsers lack: how deep an untrusted text nests.
#pragma once

#include <string>
#include <string_view>

#include "src/base/result.h"

namespace bifrons {

/// No published file nests more than ten deep.
constexpr int kMaxJsonDepth = 64;

inline Error TooDeep(const std::string& path) {
  return DataError(path + ": JSON nested deeper than " + std::to_string(kMaxJsonDepth) + " levels");
}

/// To be asked before parsing: walking and destroying a value take stack in proportion to its depth.
inline Status CheckJsonDepth(std::string_view text, const std::string& path) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); i++) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') i++;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxJsonDepth) return TooDeep(path);
    } else if (c == ']' || c == '}') {
      depth--;
    }
  }
  return {};
}

}  // namespace bifrons
