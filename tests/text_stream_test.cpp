// Text appears in whole characters, stripped, and adds up to what all tokens decode to.
#include "src/engine/text_stream.h"

#include <catch2/catch.hpp>

#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

Tokenizer LoadTokenizer() {
  auto tokenizer = Tokenizer::Load(std::string(BIFRONS_TEST_DIR "/../assets/janus-mini"));
  if (!tokenizer.ok()) FAIL(tokenizer.error().message);
  return std::move(*tokenizer);
}

bool IsWholeUtf8(const std::string& text) { return ReplaceInvalidUtf8(text) == text; }

TEST_CASE("Characters of several tokens come whole") {
  const Tokenizer tokenizer = LoadTokenizer();
  for (const std::string text :
       {"a dog", "Grüße", "狗在跑", "🦊🐶", "e\u0301", "\U0001F469\u200D\U0001F680"}) {
    const auto ids = tokenizer.Encode(text);
    TextStream stream(tokenizer);
    std::string shown;
    bool waited = false;
    for (const int32_t id : ids) {
      const std::string more = stream.Add(id);
      CHECK(IsWholeUtf8(more));
      CHECK(more.find("\uFFFD") == std::string::npos);
      waited |= more.empty();
      shown += more;
    }
    shown += stream.Finish();
    CHECK(shown == text);
    CHECK(stream.text() == text);
    // The small vocabulary spells these in bytes, so something had to be held back.
    if (text == "狗在跑") CHECK(waited);
  }
}

TEST_CASE("White space at either end is not shown") {
  const Tokenizer tokenizer = LoadTokenizer();
  TextStream stream(tokenizer);
  std::string shown;
  for (const int32_t id : tokenizer.Encode(" a dog \n on  ice \n\n")) shown += stream.Add(id);
  shown += stream.Finish();
  CHECK(shown == "a dog \n on  ice");
}

TEST_CASE("A character that never becomes whole ends as U+FFFD") {
  const Tokenizer tokenizer = LoadTokenizer();
  const auto ids = tokenizer.Encode("狗");
  REQUIRE(ids.size() > 1);
  TextStream stream(tokenizer);
  CHECK(stream.Add(tokenizer.Encode("a")[0]) == "a");
  CHECK(stream.Add(ids[0]).empty());
  CHECK(stream.Finish() == "\uFFFD");
}

TEST_CASE("U+FFFD that a model means is shown once something follows") {
  const Tokenizer tokenizer = LoadTokenizer();
  TextStream stream(tokenizer);
  std::string shown;
  for (const int32_t id : tokenizer.Encode("x\uFFFD\uFFFD\uFFFD\uFFFDy")) shown += stream.Add(id);
  CHECK(shown + stream.Finish() == "x\uFFFD\uFFFD\uFFFD\uFFFDy");
}

}  // namespace
}  // namespace bifrons
