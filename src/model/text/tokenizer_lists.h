// tokenizer.json as it is read: its long lists become what they are for element by element.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/json_visitor.h"
#include "src/base/result.h"
#include "src/model/text/json_field.h"
#include "src/model/text/tokenizer_json.h"

namespace bifrons {

/// Reads vocabulary, merges and added tokens, and keeps the few short parts that ParseTokenizerFile looks at
/// as trees. The Take… functions want their field for messages.
class TokenizerLists : public JsonVisitor {
 public:
  /// `path` is for messages, and must outlive this.
  explicit TokenizerLists(const std::string& path) : path_(path) {}

  /// The short parts, in their places.
  nlohmann::json document = nlohmann::json::object();
  bool is_object = false;

  Use Choose(const JsonPlace&, Kind) override;
  Status Take(const JsonPlace&, nlohmann::json& value) override;

  /// Errors: not an object from entries to ids, or an id that stands twice.
  Status TakeVocabulary(const JsonField&, TokenizerFile&);
  /// After the vocabulary, which may stand behind the merges in the file. Errors: not a list, or a merge of
  /// or into what is no entry.
  Status TakeMerges(const JsonField&, TokenizerFile&);
  /// After the vocabulary. Errors: not a list, or a token that contradicts another one or the vocabulary.
  Status TakeAddedTokens(const JsonField&, TokenizerFile&);

 private:
  Use ChoosePart(std::string_view key, Kind);
  Use ChooseModelPart(std::string_view key, Kind);
  Status TakeMerge(const JsonPlace&, const nlohmann::json& value);
  // Where the list has merge number `i` of those that were not passed over.
  size_t PlaceOfMerge(size_t i) const;
  JsonField FieldAt(const JsonPlace& place, const nlohmann::json& value) const {
    return {&value, path_ + ": " + place.ToString()};
  }

  const std::string& path_;
  Vocabulary vocabulary_;
  std::string merge_texts_;  // left and right of one merge after another
  std::vector<std::pair<uint32_t, uint32_t>> merge_sizes_;
  std::vector<uint32_t> skipped_merges_;  // in ascending order
  std::vector<AddedToken> added_tokens_;
  bool has_vocabulary_ = false, has_merges_ = false, added_tokens_are_wrong_ = false;
};

}  // namespace bifrons
