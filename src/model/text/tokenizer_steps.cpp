#include "src/model/text/tokenizer_steps.h"

#include <string>
#include <utility>

namespace bifrons {
namespace {

// {"Regex": "…"} or {"String": "…"}
Result<Regex> ReadPattern(const JsonField& f) {
  const JsonField regex = f.At("Regex"), literal = f.At("String");
  if (regex.present() == literal.present()) return f.Wrong("must hold either Regex or String");
  const JsonField& which = regex.present() ? regex : literal;
  BIFRONS_TRY(const std::string text, ReadString(which));
  Result<Regex> compiled = regex.present() ? Regex::Compile(text) : Regex::Literal(text);
  if (!compiled) return which.Wrong(compiled.error().message);
  return compiled;
}

Result<SplitBehavior> ReadBehavior(const JsonField& f) {
  BIFRONS_TRY(const std::string name, ReadString(f));
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return f.Wrong("must be Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

}  // namespace

Result<PreTokenizerStep> ReadPreTokenizerStep(const JsonField& f) {
  BIFRONS_TRY(const std::string type, ReadString(f.At("type")));
  PreTokenizerStep step;
  if (type == "Split") {
    BIFRONS_TRY(Regex regex, ReadPattern(f.At("pattern")));
    step.regex.push_back(std::move(regex));
    BIFRONS_TRY(step.behavior, ReadBehavior(f.At("behavior")));
    BIFRONS_TRY(step.invert, ReadBool(f.At("invert"), false));
  } else if (type == "Digits") {
    BIFRONS_TRY(const bool individual, ReadBool(f.At("individual_digits"), false));
    step.behavior = individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous;
    step.regex.push_back(Regex::Numeric().value());
  } else if (type == "ByteLevel") {
    step.kind = PreTokenizerStep::Kind::kByteLevel;
    BIFRONS_TRY(step.add_prefix_space, ReadBool(f.At("add_prefix_space"), true));
    BIFRONS_TRY(const bool use_regex, ReadBool(f.At("use_regex"), true));
    if (use_regex) step.regex.push_back(Regex::Compile(kGpt2Pattern).value());
  } else {
    return f.At("type").Wrong("\"" + type +
                              "\" is not supported; known are Sequence, Split, Digits and ByteLevel");
  }
  return step;
}

Result<NormalizerStep> ReadNormalizerStep(const JsonField& f) {
  using Kind = NormalizerStep::Kind;
  BIFRONS_TRY(const std::string type, ReadString(f.At("type")));
  NormalizerStep step;
  if (type == "NFC") {
    step.kind = Kind::kNfc;
  } else if (type == "NFD") {
    step.kind = Kind::kNfd;
  } else if (type == "NFKC") {
    step.kind = Kind::kNfkc;
  } else if (type == "NFKD") {
    step.kind = Kind::kNfkd;
  } else if (type == "Lowercase") {
    step.kind = Kind::kLowercase;
  } else if (type == "Replace") {
    step.kind = Kind::kReplace;
    BIFRONS_TRY(Regex regex, ReadPattern(f.At("pattern")));
    step.regex.push_back(std::move(regex));
    BIFRONS_TRY(step.content, ReadString(f.At("content")));
  } else if (type == "Prepend") {
    step.kind = Kind::kPrepend;
    BIFRONS_TRY(step.content, ReadString(f.At("prepend")));
  } else if (type == "Strip") {
    step.kind = Kind::kStrip;
    BIFRONS_TRY(step.left, ReadBool(f.At("strip_left"), true));
    BIFRONS_TRY(step.right, ReadBool(f.At("strip_right"), true));
  } else {
    return f.At("type").Wrong(
        "\"" + type +
        "\" is not supported; known are Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Replace, "
        "Prepend and Strip");
  }
  return step;
}

}  // namespace bifrons
