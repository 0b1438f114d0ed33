// A tokenizer as GGUF's own keys describe one (tokenizer.ggml.*), for tools that do not read tokenizer.json.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "src/model/checkpoint/gguf_header.h"
#include "src/model/export_files.h"

namespace bifrons {

struct GgufTokenizer {
  std::string pre;                  // how a text is cut before merging, by llama.cpp's name for it
  std::vector<std::string> tokens;  // by id, as many as the model's vocabulary has
  std::vector<int32_t> types;       // llama.cpp: llama_token_type, of each
  std::vector<std::string> merges;  // "left right"
  ExportTokens special;
};

/// From tokenizer.json's text; `path` is for messages. Ids without an entry get "[PAD7]", as llama.cpp's own
/// converter calls them. Errors: ParseTokenizerFile's; an id beyond the vocabulary, a special token that is
/// missing (kBadData).
Result<GgufTokenizer> MakeGgufTokenizer(std::string_view tokenizer_json, int64_t vocabulary,
                                        const std::string& path);

void AddTokenizer(const GgufTokenizer& tokenizer, GgufHeader* header);

}  // namespace bifrons
