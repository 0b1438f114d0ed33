// Rewrites a text before it is cut: the cheap normalizers of tokenizer.json.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/model/text/regex.h"

namespace bifrons {

/// One normalizer; a Sequence is a list of steps.
struct NormalizerStep {
  enum class Kind { kNfc, kNfd, kNfkc, kNfkd, kLowercase, kReplace, kPrepend, kStrip };
  Kind kind = Kind::kNfc;
  std::vector<Regex> regex;          // Replace: one
  std::string content;               // Replace, Prepend
  bool left = false, right = false;  // Strip
};

/// Runs the steps on valid UTF-8. Composition follows utf8proc's Unicode version.
std::string Normalize(const std::vector<NormalizerStep>& steps, std::string_view text);

}  // namespace bifrons
