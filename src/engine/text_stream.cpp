#include "src/engine/text_stream.h"

#include "src/model/text/utf8.h"

namespace bifrons {

std::string TextStream::Show(const std::string& decoded) {
  const std::string_view stripped = StripPythonWhitespace(decoded);
  if (stripped.size() <= text_.size()) return {};
  std::string more(stripped.substr(text_.size()));
  text_ += more;
  return more;
}

std::string TextStream::Add(int32_t token) {
  tokens_.push_back(token);
  std::string decoded = tokenizer_.Decode(tokens_, true);
  // Bytes that are no whole character yet decode to U+FFFD, three at most.
  constexpr std::string_view kReplacement = "\uFFFD";
  for (int i = 0; i < 3 && decoded.ends_with(kReplacement); i++)
    decoded.resize(decoded.size() - kReplacement.size());
  return Show(decoded);
}

std::string TextStream::Finish() { return Show(tokenizer_.Decode(tokens_, true)); }

}  // namespace bifrons
