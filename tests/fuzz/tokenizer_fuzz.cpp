// tokenizer.json as an attacker writes it: reading ends in a tokenizer or an error, and a tokenizer encodes.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "src/base/check.h"
#include "src/model/text/chat_template.h"
#include "src/model/text/tokenizer.h"

namespace bifrons {
namespace {

constexpr std::string_view kTexts[] = {
    "", "a cat", "  two  dogs\r\n\n12345 don't ",
    "\xE4\xB8\xAD\xE6\x96\x87 <|User|><s>\xF0\x9F\x98\x80 e\xCC\x81",
    "\xFF\xE4\xB8 ab abc aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"};

}  // namespace
}  // namespace bifrons

// What follows the first NUL byte, if there is one, is tokenizer_config.json.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bifrons;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t split = input.find('\0');
  const std::string_view file = input.substr(0, split);
  const std::string_view config =
      split == std::string_view::npos ? std::string_view() : input.substr(split + 1);
  const auto tokenizer = Tokenizer::Parse(file, config, "fuzz/tokenizer.json");
  if (!tokenizer) {
    BIFRONS_CHECK(tokenizer.error().message.find('\n') == std::string::npos);
    return 0;
  }
  for (const std::string_view text : kTexts) {
    const auto ids = tokenizer.value().Encode(text);
    for (const int32_t id : ids) BIFRONS_CHECK(id >= 0 && id < tokenizer.value().size());
    (void)tokenizer.value().Decode(ids, true);
  }
  if (const auto special = FindSpecialTokens(tokenizer.value()); special.ok()) {
    (void)EncodeDrawingPrompt(tokenizer.value(), ChooseTemplate("auto", tokenizer.value()).value(),
                              special.value(), "x");
  }
  return 0;
}
