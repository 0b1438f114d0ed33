// Finds added tokens (entries that bypass BPE) in a text.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bifrons {

/// An entry of tokenizer.json's `added_tokens`.
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = false;      // a control token: skipped when decoding, never read from a user's text
  bool single_word = false;  // matches only between characters that are no word characters
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and after it
  bool normalized = false;   // matches in the normalized text
};

/// Longer contents are refused, and normalized ones of more than four times that, which bounds the search per
/// position.
inline constexpr size_t kMaxAddedTokenBytes = 256;

/// All added tokens of a tokenizer, found by content and by id.
class AddedTokens {
 public:
  AddedTokens() = default;
  explicit AddedTokens(std::vector<AddedToken> tokens);

  const std::vector<AddedToken>& all() const { return tokens_; }
  /// nullptr where there is none.
  const AddedToken* Find(std::string_view content) const;
  const AddedToken* Find(int32_t id) const;

  /// Index of a token with the content, or the id, of one before it.
  std::optional<size_t> RepeatedContent() const;
  std::optional<size_t> RepeatedId() const;

 private:
  std::vector<AddedToken> tokens_;
  std::vector<uint32_t> by_content_, by_id_;  // indices; what is equal in the order of the list
};

/// tokenizers: AddedVocabulary::find_matches. The leftmost, then longest token wins.
class AddedTokenMatcher {
 public:
  /// What to look for: the token's own content or its normalized form. Empty contents never match; of equal
  /// ones, the last one counts.
  struct Pattern {
    std::string content;
    const AddedToken* token;  // must outlive the matcher
  };
  AddedTokenMatcher() = default;
  explicit AddedTokenMatcher(std::vector<Pattern> patterns);

  /// Calls `text_part` for the text between tokens and `token_part` for every token, in order.
  void Split(std::string_view text, const std::function<void(std::string_view)>& text_part,
             const std::function<void(int32_t)>& token_part) const;

 private:
  const Pattern* LongestAt(std::string_view text) const;

  std::vector<Pattern> patterns_;  // by content, each once
  uint32_t starts_[257] = {};      // where in patterns_ those that begin with a byte begin
};

}  // namespace bifrons
