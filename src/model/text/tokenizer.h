// Byte-level BPE tokenizers as Hugging Face's tokenizer.json describes them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"

namespace bifrons {

class Tokenizer {
 public:
  /// Reads tokenizer.json and, where present, tokenizer_config.json of a folder. Errors name file and field.
  static Result<Tokenizer> Load(const std::string& folder);
  /// The same from the files' text (config_json may be empty); `path` is for messages. The fuzz target's entry.
  static Result<Tokenizer> Parse(std::string_view tokenizer_json, std::string_view config_json, const std::string& path);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Ids of a user's text, without BOS. Special tokens and `protected_markers` (the chat template's) never match: their
  /// characters are encoded as text. Other added tokens match as in the `tokenizers` library. Invalid UTF-8 is
  /// replaced by U+FFFD.
  std::vector<int32_t> Encode(std::string_view text) const;
  /// Text of ids. Special tokens are skipped when `skip_special`. Bytes that are not UTF-8 become U+FFFD.
  std::string Decode(std::span<const int32_t> ids, bool skip_special) const;

  /// Id of an entry by its exact string (special or not), e.g. "<begin_of_image>".
  std::optional<int32_t> IdOf(std::string_view token) const;
  /// Entries including added tokens: 1 + the largest id.
  int32_t size() const;
  /// The BOS id when this tokenizer puts one before a text (by its template or add_bos_token), else none.
  std::optional<int32_t> bos() const;
  std::optional<int32_t> eos() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace bifrons
