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
#include "src/model/checkpoint/model_texts.h"

namespace bifrons {

/// Immutable once read; one object serves any number of threads.
class Tokenizer {
 public:
  /// Reads tokenizer.json and, where present, tokenizer_config.json of a model. Errors name file and field.
  static Result<Tokenizer> Load(const ModelTexts& texts);
  /// The same from the files' text (config_json may be empty); `path`, tokenizer.json's, is for messages. The
  /// fuzz target's entry.
  static Result<Tokenizer> Parse(std::string_view tokenizer_json, std::string_view config_json,
                                 const std::string& path);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Ids of a user's text, without BOS: what the `tokenizers` library gives for a tokenizer.json without its
  /// special tokens. Those, and the chat templates' markers (whether the file calls them special or not),
  /// never match: their characters are encoded as text. Other added tokens match as in the library. Invalid
  /// UTF-8 is replaced by U+FFFD.
  std::vector<int32_t> Encode(std::string_view text) const;
  /// Text of ids, the inverse of Encode. Special tokens and markers are left out when `skip_special`; unknown
  /// ids always are. Bytes that are not UTF-8 become U+FFFD. Added tokens stand for their text literally (the
  /// library takes "ø" for a byte).
  std::string Decode(std::span<const int32_t> ids, bool skip_special) const;

  /// Id of an entry by its exact string (special or not), e.g. "<begin_of_image>".
  std::optional<int32_t> IdOf(std::string_view token) const;
  /// Entries including added tokens: 1 + the largest id.
  int32_t size() const;
  /// The BOS id when this tokenizer puts one before a text (by its template or add_bos_token), else none.
  std::optional<int32_t> bos() const;
  /// tokenizer_config.json's eos_token, else `<｜end▁of▁sentence｜>`.
  std::optional<int32_t> eos() const;
  /// `<｜▁pad▁｜>`, which the reference's processor looks up, else tokenizer_config.json's pad_token.
  std::optional<int32_t> pad() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace bifrons
