// Cuts a text into the pieces within which BPE merges.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "src/model/text/regex.h"

namespace bifrons {

/// What becomes of the matches of a Split (tokenizers: SplitDelimiterBehavior).
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

/// One pre-tokenizer of tokenizer.json; a Sequence is a list of steps.
struct PreTokenizerStep {
  enum class Kind {
    kSplit,      // at the matches of `regex` (Digits too: its regex is Regex::Numeric)
    kByteLevel,  // bytes become GPT-2's 256 printable characters
  };
  Kind kind = Kind::kSplit;
  std::vector<Regex> regex;  // Split: one; ByteLevel: GPT-2's expression where use_regex says so
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;            // Split: the gaps are the matches
  bool add_prefix_space = false;  // ByteLevel
};

/// A text and the consecutive or gapped pieces cut from it, as offsets into it.
struct Pieces {
  std::string text;
  std::vector<ByteRange> ranges;
};

/// Runs the steps on `text` (valid UTF-8). `^`, `$` and look-around see one piece of the step before, nothing
/// beyond.
Pieces PreTokenize(const std::vector<PreTokenizerStep>& steps, std::string_view text);

/// GPT-2's expression, which ByteLevel splits by unless use_regex is false.
inline constexpr char kGpt2Pattern[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// GPT-2's bytes_to_unicode: the printable character that stands for a byte, below 0x144.
char32_t CharacterOfByte(uint8_t byte);
/// Its inverse, or -1.
int ByteOfCharacter(char32_t c);

}  // namespace bifrons
