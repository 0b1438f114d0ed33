#include "src/model/text/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>

#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

size_t LastCharacterStart(std::string_view text) {
  size_t start = text.size() - 1;
  while (start > 0 && (text[start] & 0xC0) == 0x80) start--;
  return start;
}

// \w of Rust's regex crate.
bool IsWordCharacter(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9);
  }
}

bool EndsWithWord(std::string_view text) {
  return !text.empty() && IsWordCharacter(DecodeUtf8(text.substr(LastCharacterStart(text))).value);
}

bool StartsWithWord(std::string_view text) {
  return !text.empty() && IsWordCharacter(DecodeUtf8(text).value);
}

size_t SpaceAtStart(std::string_view text) {
  size_t n = 0;
  while (n < text.size()) {
    const CodePoint c = DecodeUtf8(text.substr(n));
    if (!IsWhiteSpace(c.value)) break;
    n += c.bytes;
  }
  return n;
}

// Where the white space at the text's end begins, looking no further left than `limit`.
size_t SpaceAtEnd(std::string_view text, size_t limit) {
  while (text.size() > limit) {
    const size_t start = LastCharacterStart(text);
    if (!IsWhiteSpace(DecodeUtf8(text.substr(start)).value)) break;
    text = text.substr(0, start);
  }
  return text.size();
}

}  // namespace

void AddedTokenMatcher::Add(const AddedToken& token, std::string_view content) {
  if (content.empty()) return;
  starts_[static_cast<uint8_t>(content[0])] = true;
  uint32_t node = 0;
  for (char c : content) {
    const auto [edge, is_new] =
        edges_.try_emplace(static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(c), token_at_.size());
    node = edge->second;
    if (is_new) token_at_.push_back(-1);
  }
  token_at_[node] = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(token);
}

void AddedTokenMatcher::Split(std::string_view text, const std::function<void(std::string_view)>& text_part,
                              const std::function<void(int32_t)>& token_part) const {
  size_t done = 0;
  for (size_t i = 0; !tokens_.empty() && i < text.size();) {
    if (!starts_[static_cast<uint8_t>(text[i])]) {
      i++;
      continue;
    }
    uint32_t node = 0;
    int32_t found = -1;
    size_t stop = i;
    for (size_t j = i; j < text.size(); j++) {
      const auto edge = edges_.find(static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(text[j]));
      if (edge == edges_.end()) break;
      node = edge->second;
      if (token_at_[node] >= 0) found = token_at_[node], stop = j + 1;
    }
    if (found < 0) {
      i++;
      continue;
    }
    size_t start = i;
    i = stop;  // the library's search goes on here whatever the flags do to the match
    const AddedToken& token = tokens_[found];
    if (token.single_word && (EndsWithWord(text.substr(0, start)) || StartsWithWord(text.substr(stop))))
      continue;
    if (token.lstrip)
      start = std::max(SpaceAtEnd(text.substr(0, start), std::min(done, start)), std::min(done, start));
    if (token.rstrip) stop += SpaceAtStart(text.substr(stop));
    if (done < start) text_part(text.substr(done, start - done));
    token_part(token.id);
    done = stop;
  }
  if (done < text.size()) text_part(text.substr(done));
}

}  // namespace bifrons
