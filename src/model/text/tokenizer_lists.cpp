#include "src/model/text/tokenizer_lists.h"

#include <limits>

#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

using nlohmann::json;

bool IsId(const json& value) {
  return value.is_number_unsigned() && value.get<uint64_t>() < std::numeric_limits<int32_t>::max();
}

constexpr char kIdRule[] = "must be an id from 0 to 2147483646";

// "left right" or ["left", "right"]. Empty where the text is neither; `wrong` then says so.
struct MergedTexts {
  std::string_view left, right;
  const char* wrong = nullptr;
};
MergedTexts SplitMerge(const json& merge) {
  if (merge.is_string()) {
    const std::string& both = merge.get_ref<const std::string&>();
#ifdef BIFRONS_PLANTED_BUGS
    size_t space = 0;
    while (both.data()[space] != ' ') space++;
#else
    const size_t space = both.find(' ');
    if (space == std::string::npos || both.find(' ', space + 1) != std::string::npos) {
      return {"", "", "must be two entries with one space between them"};
    }
#endif
    return {std::string_view(both).substr(0, space), std::string_view(both).substr(space + 1)};
  }
  if (!merge.is_array() || merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string()) {
    return {"", "", "must be a string or a list of two strings"};
  }
  return {merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>()};
}

Result<AddedToken> ReadAddedToken(const JsonField& entry) {
  AddedToken token;
  BIFRONS_TRY(token.content, ReadString(entry.At("content")));
  const JsonField id = entry.At("id");
  if (!id.present() || !IsId(*id.value)) return id.Wrong(kIdRule);
  token.id = id.value->get<int32_t>();
  if (token.content.size() > kMaxAddedTokenBytes) {
    return entry.At("content").Wrong("longer than " + std::to_string(kMaxAddedTokenBytes) + " bytes");
  }
  BIFRONS_TRY(token.special, ReadBool(entry.At("special"), false));
  BIFRONS_TRY(token.single_word, ReadBool(entry.At("single_word"), false));
  BIFRONS_TRY(token.lstrip, ReadBool(entry.At("lstrip"), false));
  BIFRONS_TRY(token.rstrip, ReadBool(entry.At("rstrip"), false));
  BIFRONS_TRY(token.normalized, ReadBool(entry.At("normalized"), !token.special));
  return token;
}

}  // namespace

JsonVisitor::Use TokenizerLists::Choose(const JsonPlace& place, Kind kind) {
  if (place.depth() == 0) {
    is_object = kind == Kind::kObject;
    return is_object ? Use::kOpen : Use::kSkip;
  }
  if (place.depth() == 1) return ChoosePart(place.key(0), kind);
  if (place.depth() == 2 && place.key(0) == "model") return ChooseModelPart(place.key(1), kind);
  return Use::kTake;
}

Status TokenizerLists::Take(const JsonPlace& place, json& value) {
  if (place.depth() == 1) {
    document[std::string(place.key(0))] = std::move(value);
  } else if (place.key(0) == "added_tokens") {
    BIFRONS_TRY(AddedToken token, ReadAddedToken(JsonField{&value, path_ + ": " + place.ToString()}));
    added_tokens_.push_back(std::move(token));
  } else if (place.depth() == 2) {
    document["model"][std::string(place.key(1))] = std::move(value);
  } else if (place.key(1) == "vocab") {
    if (!IsId(value)) return FieldAt(place, value).Wrong(kIdRule);
    vocabulary_.Set(place.key(2), value.get<int32_t>());
  } else {
    return TakeMerge(place, value);
  }
  return {};
}

Status TokenizerLists::TakeVocabulary(const JsonField& f, TokenizerFile& file) {
  if (!has_vocabulary_) return f.Wrong("must be an object from entries to ids");
  file.vocabulary = std::move(vocabulary_);
  if (const auto twice = file.vocabulary.SortIds()) {
    return f.At(std::string(file.vocabulary.entry(*twice)).c_str())
        .Wrong("the id " + std::to_string(file.vocabulary.id(*twice)) + " belongs to another entry as well");
  }
  return {};
}

Status TokenizerLists::TakeMerges(const JsonField& f, TokenizerFile& file) {
  if (!has_merges_) return f.Wrong("must be a list");
  file.merges.reserve(merge_sizes_.size());
  size_t begin = 0;
  for (const auto& [left_size, right_size] : merge_sizes_) {
    const std::string_view both = std::string_view(merge_texts_).substr(begin, left_size + right_size);
    begin += both.size();
    Bpe::Merge merge{};
    for (const auto& [text, id] :
         {std::pair<std::string_view, int32_t*>{both.substr(0, left_size), &merge.left},
          {both.substr(left_size), &merge.right},
          {both, &merge.merged}}) {
      const auto found = file.vocabulary.IdOf(text);
      if (!found) {
        return DataError(OneLine(f.where + "[" + std::to_string(PlaceOfMerge(file.merges.size())) + "]: \"" +
                                 std::string(text) + "\" is not in model.vocab"));
      }
      *id = *found;
    }
    file.merges.push_back(merge);
  }
  merge_texts_ = {};
  merge_sizes_ = {};
  return {};
}

Status TokenizerLists::TakeAddedTokens(const JsonField& f, TokenizerFile& file) {
  if (f.present() || added_tokens_are_wrong_) return f.Wrong("must be a list");
  file.added_tokens = AddedTokens(std::move(added_tokens_));
  const std::vector<AddedToken>& tokens = file.added_tokens.all();
  const auto wrong = [&](size_t i, const char* field, const std::string& what) {
    return DataError(OneLine(f.where + "[" + std::to_string(i) + "]." + field + ": " + what));
  };
  if (const auto i = file.added_tokens.RepeatedContent()) {
    return wrong(*i, "content", "\"" + tokens[*i].content + "\" is listed twice");
  }
  const std::string taken = " belongs to another entry as well";
  if (const auto i = file.added_tokens.RepeatedId()) {
    return wrong(*i, "id", "the id " + std::to_string(tokens[*i].id) + taken);
  }
  for (size_t i = 0; i < tokens.size(); i++) {
    const auto id = file.vocabulary.IdOf(tokens[i].content);
    if (id && *id != tokens[i].id) {
      return wrong(i, "id", "model.vocab gives \"" + tokens[i].content + "\" the id " + std::to_string(*id));
    }
    if (!id && file.vocabulary.EntryOf(tokens[i].id)) {
      return wrong(i, "id", "the id " + std::to_string(tokens[i].id) + taken);
    }
  }
  return {};
}

// Of a key that stands twice the last one counts, so each begins anew.
JsonVisitor::Use TokenizerLists::ChoosePart(std::string_view key, Kind kind) {
  if (key == "model") {
    document["model"] = kind == Kind::kObject ? json::object() : json(false);
    has_vocabulary_ = has_merges_ = false;
    return kind == Kind::kObject ? Use::kOpen : Use::kSkip;
  }
  if (key == "added_tokens") {
    document.erase("added_tokens");
    added_tokens_ = {};
    added_tokens_are_wrong_ = kind == Kind::kObject;
    return kind == Kind::kList ? Use::kOpen : kind == Kind::kScalar ? Use::kTake : Use::kSkip;
  }
  for (const char* known : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    if (key == known) return Use::kTake;
  }
  return Use::kSkip;
}

JsonVisitor::Use TokenizerLists::ChooseModelPart(std::string_view key, Kind kind) {
  if (key == "vocab") {
    vocabulary_ = {};
    has_vocabulary_ = kind == Kind::kObject;
    return has_vocabulary_ ? Use::kOpen : Use::kSkip;
  }
  if (key == "merges") {
    merge_texts_ = {};
    merge_sizes_ = {};
    skipped_merges_ = {};
    has_merges_ = kind == Kind::kList;
    return has_merges_ ? Use::kOpen : Use::kSkip;
  }
  for (const char* known : {"type", "continuing_subword_prefix", "end_of_word_suffix", "dropout",
                            "ignore_merges", "byte_fallback", "fuse_unk", "unk_token"}) {
    if (key == known) return Use::kTake;
  }
  return Use::kSkip;
}

Status TokenizerLists::TakeMerge(const JsonPlace& place, const json& value) {
  if (value.is_string() && value.get_ref<const std::string&>().starts_with("#version")) {
    skipped_merges_.push_back(static_cast<uint32_t>(place.index()));
    return {};
  }
  const MergedTexts merge = SplitMerge(value);
  if (merge.wrong) return FieldAt(place, value).Wrong(merge.wrong);
  merge_texts_.append(merge.left).append(merge.right);
  merge_sizes_.emplace_back(static_cast<uint32_t>(merge.left.size()),
                            static_cast<uint32_t>(merge.right.size()));
  return {};
}

size_t TokenizerLists::PlaceOfMerge(size_t i) const {
  for (const uint32_t skipped : skipped_merges_) i += skipped <= i;
  return i;
}

}  // namespace bifrons
