// bifrons tokenize: needs just the tokenizer's files.
#include <cstdio>

#include "src/cli/commands.h"
#include "src/model/model_path.h"
#include "src/model/text/tokenizer.h"

namespace bifrons {

Result<int> RunTokenize(const TokenizeOptions& options) {
  BIFRONS_TRY(const std::string model, ResolveModel(options.model));
  BIFRONS_TRY(const ModelTexts texts, OpenTokenizerTexts(model));
  BIFRONS_TRY(const Tokenizer tokenizer, Tokenizer::Load(texts));
  const auto ids = tokenizer.Encode(options.texts[0]);
  std::printf("[");
  for (size_t i = 0; i < ids.size(); i++) std::printf("%s%d", i ? ", " : "", ids[i]);
  std::printf("]\n");
  return 0;
}

}  // namespace bifrons
