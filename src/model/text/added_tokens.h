// Finds added tokens (entries that bypass BPE) in a text.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
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

/// Longer contents are refused, which bounds the search per position.
inline constexpr size_t kMaxAddedTokenBytes = 256;

/// tokenizers: AddedVocabulary::find_matches. The leftmost, then longest token wins.
class AddedTokenMatcher {
 public:
  /// `content` is what to look for: the token's own or its normalized form. Empty contents never match.
  void Add(const AddedToken& token, std::string_view content);
  bool empty() const { return tokens_.empty(); }

  /// Calls `text_part` for the text between tokens and `token_part` for every token, in order.
  void Split(std::string_view text, const std::function<void(std::string_view)>& text_part,
             const std::function<void(int32_t)>& token_part) const;

 private:
  // A trie: edges keyed by (node << 8 | byte).
  std::unordered_map<uint64_t, uint32_t> edges_;
  std::vector<int32_t> token_at_{-1};  // node → index into tokens_, -1 where none ends
  std::vector<AddedToken> tokens_;
  bool starts_[256] = {};  // bytes that some token starts with
};

}  // namespace bifrons
