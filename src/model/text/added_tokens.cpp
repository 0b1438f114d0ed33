#include "src/model/text/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>
#include <numeric>
#include <utility>

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

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  by_content_.resize(tokens_.size());
  std::iota(by_content_.begin(), by_content_.end(), 0);
  by_id_ = by_content_;
  std::sort(by_content_.begin(), by_content_.end(), [&](uint32_t a, uint32_t b) {
    const int order = tokens_[a].content.compare(tokens_[b].content);
    return order != 0 ? order < 0 : a < b;
  });
  std::sort(by_id_.begin(), by_id_.end(), [&](uint32_t a, uint32_t b) {
    return tokens_[a].id != tokens_[b].id ? tokens_[a].id < tokens_[b].id : a < b;
  });
}

const AddedToken* AddedTokens::Find(std::string_view content) const {
  const auto found =
      std::lower_bound(by_content_.begin(), by_content_.end(), content,
                       [&](uint32_t i, std::string_view wanted) { return tokens_[i].content < wanted; });
  return found != by_content_.end() && tokens_[*found].content == content ? &tokens_[*found] : nullptr;
}

const AddedToken* AddedTokens::Find(int32_t id) const {
  const auto found = std::lower_bound(by_id_.begin(), by_id_.end(), id,
                                      [&](uint32_t i, int32_t wanted) { return tokens_[i].id < wanted; });
  return found != by_id_.end() && tokens_[*found].id == id ? &tokens_[*found] : nullptr;
}

std::optional<size_t> AddedTokens::RepeatedContent() const {
  const auto twice = std::adjacent_find(by_content_.begin(), by_content_.end(), [&](uint32_t a, uint32_t b) {
    return tokens_[a].content == tokens_[b].content;
  });
  return twice == by_content_.end() ? std::nullopt : std::optional<size_t>(twice[1]);
}

std::optional<size_t> AddedTokens::RepeatedId() const {
  const auto twice = std::adjacent_find(
      by_id_.begin(), by_id_.end(), [&](uint32_t a, uint32_t b) { return tokens_[a].id == tokens_[b].id; });
  return twice == by_id_.end() ? std::nullopt : std::optional<size_t>(twice[1]);
}

AddedTokenMatcher::AddedTokenMatcher(std::vector<Pattern> patterns) : patterns_(std::move(patterns)) {
  std::erase_if(patterns_, [](const Pattern& p) { return p.content.empty(); });
  // Reversed, so that of equal ones the last comes first, which is the one that std::unique keeps.
  std::reverse(patterns_.begin(), patterns_.end());
  std::stable_sort(patterns_.begin(), patterns_.end(),
                   [](const Pattern& a, const Pattern& b) { return a.content < b.content; });
  patterns_.erase(std::unique(patterns_.begin(), patterns_.end(),
                              [](const Pattern& a, const Pattern& b) { return a.content == b.content; }),
                  patterns_.end());
  for (const Pattern& p : patterns_) starts_[static_cast<uint8_t>(p.content[0]) + 1]++;
  std::partial_sum(std::begin(starts_), std::end(starts_), std::begin(starts_));
}

/// The longest pattern that a text which is not empty begins with; nullptr when there is none.
const AddedTokenMatcher::Pattern* AddedTokenMatcher::LongestAt(std::string_view text) const {
  const auto byte_at = [](std::string_view s, size_t i) { return static_cast<uint8_t>(s[i]); };
  const Pattern* found = nullptr;
  const uint8_t first = byte_at(text, 0);
  // All patterns from `low` to `high` begin with the text's first `length` bytes; the shortest is the first.
  const Pattern *low = patterns_.data() + starts_[first], *high = patterns_.data() + starts_[first + 1];
  for (size_t length = 1; low != high; length++) {
    if (low->content.size() == length) found = low++;
    if (length == text.size()) break;
    const uint8_t next = byte_at(text, length);
    low =
        std::partition_point(low, high, [&](const Pattern& p) { return byte_at(p.content, length) < next; });
    high =
        std::partition_point(low, high, [&](const Pattern& p) { return byte_at(p.content, length) == next; });
  }
  return found;
}

void AddedTokenMatcher::Split(std::string_view text, const std::function<void(std::string_view)>& text_part,
                              const std::function<void(int32_t)>& token_part) const {
  size_t done = 0;
  for (size_t i = 0; !patterns_.empty() && i < text.size();) {
    const Pattern* found = LongestAt(text.substr(i));
    if (!found) {
      i++;
      continue;
    }
    size_t stop = i + found->content.size();
    size_t start = i;
    i = stop;  // the library's search goes on here whatever the flags do to the match
    const AddedToken& token = *found->token;
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
