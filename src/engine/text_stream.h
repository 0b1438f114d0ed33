// Tokens to text as they come, in whole characters.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/model/text/tokenizer.h"

namespace bifrons {

/// One answer's text. Leading white space is left out (models begin with the space that follows
/// "Assistant:"), and so is trailing white space: it is held back until something follows.
class TextStream {
 public:
  explicit TextStream(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  /// What can be shown in addition once `token` has come. A token may end inside a character.
  std::string Add(int32_t token);
  /// What was held back for a character that never became whole.
  std::string Finish();

  const std::vector<int32_t>& tokens() const { return tokens_; }
  /// All that was shown so far.
  const std::string& text() const { return text_; }

 private:
  std::string Show(const std::string& decoded);

  const Tokenizer& tokenizer_;
  std::vector<int32_t> tokens_;
  std::string text_;
};

}  // namespace bifrons
