#include "src/model/text/normalizer.h"

#include <utf8proc.h>

#include <cstdlib>

#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

std::string Compose(std::string_view text, int options) {
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                                             static_cast<utf8proc_option_t>(UTF8PROC_STABLE | options));
  std::string result = size < 0 ? std::string(text) : std::string(reinterpret_cast<char*>(mapped), size);
  std::free(mapped);
  return result;
}

std::string Lowercase(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = DecodeUtf8(text.substr(i));
    i += c.bytes;
    if (c.value == 0x130) {
      result += "i\xCC\x87";  // the one character whose lower case has two
    } else {
      AppendUtf8(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c.value))), result);
    }
  }
  return result;
}

std::string Replace(const Regex& regex, std::string_view text, std::string_view content) {
  std::string result;
  Regex::Matcher matcher(regex);
  matcher.Reset(text);
  size_t previous = 0;
  while (const auto match = matcher.Next()) {
    result.append(text, previous, match->first - previous);
    result += content;
    previous = match->second;
  }
  result.append(text, previous);
  return result;
}

std::string Strip(std::string_view text, bool left, bool right) {
  while (left && !text.empty()) {
    const CodePoint c = DecodeUtf8(text);
    if (!IsWhiteSpace(c.value)) break;
    text.remove_prefix(c.bytes);
  }
  while (right && !text.empty()) {
    size_t start = text.size() - 1;
    while (start > 0 && (text[start] & 0xC0) == 0x80) start--;
    if (!IsWhiteSpace(DecodeUtf8(text.substr(start)).value)) break;
    text = text.substr(0, start);
  }
  return std::string(text);
}

std::string Apply(const NormalizerStep& step, std::string text) {
  switch (step.kind) {
    case NormalizerStep::Kind::kNfc:
      return Compose(text, UTF8PROC_COMPOSE);
    case NormalizerStep::Kind::kNfd:
      return Compose(text, UTF8PROC_DECOMPOSE);
    case NormalizerStep::Kind::kNfkc:
      return Compose(text, UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
    case NormalizerStep::Kind::kNfkd:
      return Compose(text, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
    case NormalizerStep::Kind::kLowercase:
      return Lowercase(text);
    case NormalizerStep::Kind::kReplace:
      return Replace(step.regex.front(), text, step.content);
    case NormalizerStep::Kind::kPrepend:
      return text.empty() ? text : step.content + text;
    case NormalizerStep::Kind::kStrip:
      return Strip(text, step.left, step.right);
  }
  return text;
}

}  // namespace

std::string Normalize(const std::vector<NormalizerStep>& steps, std::string_view text) {
  std::string result(text);
  for (const NormalizerStep& step : steps) result = Apply(step, std::move(result));
  return result;
}

}  // namespace bifrons
