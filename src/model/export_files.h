// The small files of an exported model, as text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "src/base/dtype.h"
#include "src/base/result.h"
#include "src/model/config.h"

namespace bifrons {

struct TokenizerFile;

/// Ids that a converted model's configs name.
struct ExportTokens {
  int64_t bos = 0, eos = 0, pad = 0, begin_of_image = 0, image_placeholder = 0;
};
/// Error: one is missing. `path` is for messages.
Result<ExportTokens> FindExportTokens(const TokenizerFile& file, const std::string& path);

/// tokenizer.json with filler entries in the BPE vocabulary, so that it has exactly `vocabulary` entries. No
/// merge makes a filler, so no text encodes to one. `path` is for messages.
struct PaddedTokenizer {
  std::string json;
  ExportTokens tokens;
};
Result<PaddedTokenizer> PadTokenizer(std::string_view tokenizer_json, int64_t vocabulary,
                                     const std::string& path);

/// config.json of the converted layout. kFailure when the layout has no field for something of this geometry.
Result<std::string> ConvertedConfig(const JanusConfig& config, const ExportTokens& tokens, DType dtype);
/// The same for a GGUF, whose tensors tell the rest.
std::string GgufConfig(const JanusConfig& config, const ExportTokens& tokens, DType dtype);
std::string GenerationConfig(const JanusConfig& config, const ExportTokens& tokens);
std::string PreprocessorConfig(const JanusConfig& config);
std::string ProcessorConfig(const JanusConfig& config);

}  // namespace bifrons
