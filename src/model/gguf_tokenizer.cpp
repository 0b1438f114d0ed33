#include "src/model/gguf_tokenizer.h"

#include "src/model/text/tokenizer_json.h"

namespace bifrons {
namespace {

// llama.cpp: llama_token_type
enum : int32_t { kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5 };

// The expression for scripts without spaces that DeepSeek-LLM's tokenizers have, Janus' among them; JSON may
// have it in escapes.
std::string PreTokenizerOf(std::string_view tokenizer_json) {
  for (const std::string_view pattern : {"[一-龥", "[\\u4e00-\\u9fa5"}) {
    if (tokenizer_json.find(pattern) != tokenizer_json.npos) return "deepseek-llm";
  }
  return "default";
}

}  // namespace

Result<GgufTokenizer> MakeGgufTokenizer(std::string_view text, int64_t vocabulary, const std::string& path) {
  BIFRONS_TRY(const TokenizerFile file, ParseTokenizerFile(text, path));
  GgufTokenizer made;
  BIFRONS_TRY(made.special, FindExportTokens(file, path));
  made.pre = PreTokenizerOf(text);
  made.tokens.resize(static_cast<size_t>(vocabulary));
  made.types.assign(made.tokens.size(), kUnused);
  int64_t too_large = -1;
  const auto set = [&](int32_t id, std::string_view token, int32_t type) {
    if (id >= vocabulary) {
      too_large = id;
      return;
    }
    made.tokens[static_cast<size_t>(id)] = token;
    made.types[static_cast<size_t>(id)] = type;
  };
  for (size_t i = 0; i < file.vocabulary.size(); i++)
    set(file.vocabulary.id(i), file.vocabulary.entry(i), kNormal);
  for (const AddedToken& token : file.added_tokens.all())
    set(token.id, token.content, token.special ? kControl : kUserDefined);
  if (too_large >= 0) {
    return DataError(path + ": has the id " + std::to_string(too_large) +
                     ", but the model's vocabulary has only " + std::to_string(vocabulary) + " entries");
  }
  for (size_t id = 0; id < made.tokens.size(); id++) {
    if (made.types[id] == kUnused) made.tokens[id] = "[PAD" + std::to_string(id) + "]";
  }
  made.merges.reserve(file.merges.size());
  for (const Bpe::Merge& merge : file.merges) {
    const auto left = file.vocabulary.EntryOf(merge.left), right = file.vocabulary.EntryOf(merge.right);
    if (left && right) made.merges.push_back(std::string(*left) + " " + std::string(*right));
  }
  return made;
}

void AddTokenizer(const GgufTokenizer& tokenizer, GgufHeader* header) {
  const auto id = [](int64_t token) { return static_cast<uint32_t>(token); };
  header->Add("tokenizer.ggml.model", "gpt2");
  header->Add("tokenizer.ggml.pre", tokenizer.pre);
  header->Add("tokenizer.ggml.tokens", tokenizer.tokens);
  header->Add("tokenizer.ggml.token_type", tokenizer.types);
  header->Add("tokenizer.ggml.merges", tokenizer.merges);
  header->Add("tokenizer.ggml.bos_token_id", id(tokenizer.special.bos));
  header->Add("tokenizer.ggml.eos_token_id", id(tokenizer.special.eos));
  header->Add("tokenizer.ggml.padding_token_id", id(tokenizer.special.pad));
}

}  // namespace bifrons
