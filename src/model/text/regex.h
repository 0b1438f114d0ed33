// Regular expressions as Oniguruma (Ruby syntax, Unicode) understands them, run by PCRE2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "src/base/result.h"

namespace bifrons {

/// Byte offsets [begin, end) within a text.
using ByteRange = std::pair<size_t, size_t>;

/// A compiled expression. `^` and `$` match at lines, `.` stops at a line feed, `\s` is White_Space, `\w` and
/// the general categories are those of the `tokenizers` library. What the two engines understand differently
/// and cannot be translated is refused when compiling.
class Regex {
 public:
  /// Errors are a reason without file or field: the caller knows them.
  static Result<Regex> Compile(std::string_view pattern);
  /// Matches these very characters.
  static Result<Regex> Literal(std::string_view characters);
  /// Rust's char::is_numeric: one numeric character.
  static Result<Regex> Numeric();

  /// A cursor with its own working memory, so that one Regex serves several threads.
  class Matcher {
   public:
    explicit Matcher(const Regex& regex);
    /// Starts over on a text of valid UTF-8, which must outlive the search.
    void Reset(std::string_view text);
    /// The next match. An empty match right after a match is skipped. A search that exceeds the engine's
    /// limits (catastrophic backtracking) ends the text's matches.
    std::optional<ByteRange> Next();

   private:
    int Search(uint32_t options);
    std::optional<ByteRange> NextTrailingSpace();

    const Regex& regex_;
    std::shared_ptr<void> match_data_, match_context_;
    std::string_view text_;
    size_t position_ = 0;
    std::optional<size_t> last_end_;
  };

 private:
  static Result<Regex> CompileTranslated(const std::string& pattern);

  std::shared_ptr<void> code_;
  bool trailing_space_ = false;  // the expression is `\s+$`
};

}  // namespace bifrons
