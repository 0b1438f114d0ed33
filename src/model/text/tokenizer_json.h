// tokenizer.json and tokenizer_config.json as plain data, checked.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "src/model/text/added_tokens.h"
#include "src/model/text/bpe.h"
#include "src/model/text/normalizer.h"
#include "src/model/text/pre_tokenizer.h"
#include "src/model/text/vocabulary.h"

namespace bifrons {

/// Larger files are refused, tokenizer.json and tokenizer_config.json alike. A vocabulary of 262,144 entries
/// with its merges takes 33 MB.
constexpr size_t kMaxTokenizerBytes = size_t{64} << 20;

/// What tokenizer.json says. Every id is at least 0 and below 2³¹−1; no two entries share an id.
struct TokenizerFile {
  Vocabulary vocabulary;
  std::vector<Bpe::Merge> merges;
  Bpe::Options options;
  AddedTokens added_tokens;
  std::vector<NormalizerStep> normalizer;
  std::vector<PreTokenizerStep> pre_tokenizer;
  bool byte_level_decoder = false;          // characters of GPT-2's alphabet stand for bytes
  bool byte_fallback_decoder = false;       // entries <0x00> … <0xFF> stand for bytes
  std::optional<std::string> template_bos;  // the entry that the post-processor puts before a text
};

/// What tokenizer_config.json says; names of entries, empty where it says nothing.
struct TokenizerSettings {
  bool add_bos = false;
  std::string bos, eos, pad, unknown;
};

/// `path` is for messages: "PATH: model.merges[3]: …". Time is linear in the file; memory is at most eight
/// times it, and 60 MB where normalizer, pre-tokenizer, post-processor and decoder all are as large as they
/// may be.
Result<TokenizerFile> ParseTokenizerFile(std::string_view text, const std::string& path);
Result<TokenizerSettings> ParseTokenizerSettings(std::string_view text, const std::string& path);

}  // namespace bifrons
