// Any bytes as tokenizer.json; a tokenizer that was accepted must then survive a text.
#include <cstdint>
#include <string_view>
#include <vector>

#include "src/model/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = bifrons::Tokenizer::Parse(text, "", "fuzz");
  (void)bifrons::Tokenizer::Parse("{}", text, "fuzz");
  if (!tokenizer.ok()) return 0;
  const std::vector<int32_t> ids = tokenizer->Encode(
      "a red  fox\n12 <|User|> \xC3\xA9\xFF"
      "don't");
  (void)tokenizer->Decode(ids, true);
  return 0;
}
