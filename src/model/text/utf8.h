// UTF-8 in and out, and the two notions of white space that the reference relies on.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace bifrons {

/// One decoded character. `valid` is false for bytes that are no UTF-8; `bytes` then is the length of the
/// maximal ill-formed part (at least 1), which decoders replace by a single U+FFFD.
struct CodePoint {
  char32_t value = 0xFFFD;
  int bytes = 1;
  bool valid = false;
};

/// The character at the start of a non-empty text.
CodePoint DecodeUtf8(std::string_view text);

/// Appends a code point below 0x110000.
void AppendUtf8(char32_t c, std::string& out);

/// Python's bytes.decode("utf-8", errors="replace"): surrogates, overlong forms and stray bytes become
/// U+FFFD.
std::string ReplaceInvalidUtf8(std::string_view bytes);

/// A message that quotes a file's text, fit for one line: control characters become `?`, the middle of a very
/// long one is left out.
std::string OneLine(std::string message);

/// Python's str.strip() (str.isspace, which includes U+001C–U+001F, U+0085, U+00A0 and U+3000) on valid
/// UTF-8.
std::string_view StripPythonWhitespace(std::string_view text);

/// Rust's char::is_whitespace, which is also \s of the regex engine: Unicode's White_Space.
bool IsWhiteSpace(char32_t c);

}  // namespace bifrons
