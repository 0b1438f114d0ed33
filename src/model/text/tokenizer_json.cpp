#include "src/model/text/tokenizer_json.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "src/base/json_depth.h"
#include "src/base/json_visitor.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

// Of a text by all Replace and Prepend steps together; published normalizers have one or two, of a few bytes.
constexpr size_t kMaxGrowth = 4096;
// Of a normalizer, a pre-tokenizer, …; each may hold a compiled expression. Published ones have up to ten.
constexpr size_t kMaxSteps = 64;

using nlohmann::json;

// A value and the place it was found at, for messages.
struct Field {
  const json* value;  // null where the field is absent or null
  std::string where;  // "tokenizer.json: model.vocab"

  bool present() const { return value != nullptr; }
  Error Wrong(const std::string& what) const { return DataError(OneLine(where + ": " + what)); }
  Field At(const char* key) const {
    const std::string inner = where + (where.ends_with(": ") ? "" : ".") + key;
    if (!value || !value->is_object()) return {nullptr, inner};
    const auto found = value->find(key);
    return {found == value->end() || found->is_null() ? nullptr : &*found, inner};
  }
  Field At(size_t i) const { return {&(*value)[i], where + "[" + std::to_string(i) + "]"}; }
};

Status CheckJson(std::string_view text, const std::string& path) {
  BIFRONS_RETURN_IF_ERROR(CheckJsonSize(text.size(), kMaxTokenizerBytes, path));
  return CheckJsonDepth(text, path);
}

constexpr char kInvalidJson[] = "not valid JSON; download the file again";
constexpr char kNoObject[] = ": not a JSON object";

Result<bool> ReadBool(const Field& f, bool fallback) {
  if (!f.present()) return fallback;
  if (!f.value->is_boolean()) return f.Wrong("must be true or false");
  return f.value->get<bool>();
}

Result<std::string> ReadString(const Field& f) {
  if (!f.present() || !f.value->is_string()) return f.Wrong("must be a string");
  return f.value->get_ref<const std::string&>();
}

bool IsId(const json& value) {
  return value.is_number_unsigned() && value.get<uint64_t>() < std::numeric_limits<int32_t>::max();
}

constexpr char kIdRule[] = "must be an id from 0 to 2147483646";

// A component's list of steps: a Sequence's own list, one component, or none.
Result<std::vector<Field>> ReadSequence(const Field& component, const char* list_name) {
  std::vector<Field> pending{component}, steps;
  while (!pending.empty()) {
    const Field f = std::move(pending.back());
    pending.pop_back();
    if (!f.present()) continue;
    if (!f.value->is_object()) return f.Wrong("must be an object or null");
    BIFRONS_TRY(const std::string type, ReadString(f.At("type")));
    if (type != "Sequence") {
      steps.push_back(f);
      continue;
    }
    const Field list = f.At(list_name);
    if (!list.present() || !list.value->is_array()) return list.Wrong("must be a list");
    if (steps.size() + pending.size() + list.value->size() > kMaxSteps) {
      return list.Wrong("more than " + std::to_string(kMaxSteps) + " steps are refused");
    }
    for (size_t i = list.value->size(); i > 0; i--) pending.push_back(list.At(i - 1));
  }
  return steps;
}

// {"Regex": "…"} or {"String": "…"}
Result<Regex> ReadPattern(const Field& f) {
  const Field regex = f.At("Regex"), literal = f.At("String");
  if (regex.present() == literal.present()) return f.Wrong("must hold either Regex or String");
  const Field& which = regex.present() ? regex : literal;
  BIFRONS_TRY(const std::string text, ReadString(which));
  Result<Regex> compiled = regex.present() ? Regex::Compile(text) : Regex::Literal(text);
  if (!compiled) return which.Wrong(compiled.error().message);
  return compiled;
}

Result<SplitBehavior> ReadBehavior(const Field& f) {
  BIFRONS_TRY(const std::string name, ReadString(f));
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return f.Wrong("must be Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

Result<PreTokenizerStep> ReadPreTokenizerStep(const Field& f) {
  BIFRONS_TRY(const std::string type, ReadString(f.At("type")));
  PreTokenizerStep step;
  if (type == "Split") {
    BIFRONS_TRY(Regex regex, ReadPattern(f.At("pattern")));
    step.regex.push_back(std::move(regex));
    BIFRONS_TRY(step.behavior, ReadBehavior(f.At("behavior")));
    BIFRONS_TRY(step.invert, ReadBool(f.At("invert"), false));
  } else if (type == "Digits") {
    BIFRONS_TRY(const bool individual, ReadBool(f.At("individual_digits"), false));
    step.behavior = individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous;
    step.regex.push_back(Regex::Numeric().value());
  } else if (type == "ByteLevel") {
    step.kind = PreTokenizerStep::Kind::kByteLevel;
    BIFRONS_TRY(step.add_prefix_space, ReadBool(f.At("add_prefix_space"), true));
    BIFRONS_TRY(const bool use_regex, ReadBool(f.At("use_regex"), true));
    if (use_regex) step.regex.push_back(Regex::Compile(kGpt2Pattern).value());
  } else {
    return f.At("type").Wrong("\"" + type +
                              "\" is not supported; known are Sequence, Split, Digits and ByteLevel");
  }
  return step;
}

Result<NormalizerStep> ReadNormalizerStep(const Field& f) {
  using Kind = NormalizerStep::Kind;
  BIFRONS_TRY(const std::string type, ReadString(f.At("type")));
  NormalizerStep step;
  if (type == "NFC") {
    step.kind = Kind::kNfc;
  } else if (type == "NFD") {
    step.kind = Kind::kNfd;
  } else if (type == "NFKC") {
    step.kind = Kind::kNfkc;
  } else if (type == "NFKD") {
    step.kind = Kind::kNfkd;
  } else if (type == "Lowercase") {
    step.kind = Kind::kLowercase;
  } else if (type == "Replace") {
    step.kind = Kind::kReplace;
    BIFRONS_TRY(Regex regex, ReadPattern(f.At("pattern")));
    step.regex.push_back(std::move(regex));
    BIFRONS_TRY(step.content, ReadString(f.At("content")));
  } else if (type == "Prepend") {
    step.kind = Kind::kPrepend;
    BIFRONS_TRY(step.content, ReadString(f.At("prepend")));
  } else if (type == "Strip") {
    step.kind = Kind::kStrip;
    BIFRONS_TRY(step.left, ReadBool(f.At("strip_left"), true));
    BIFRONS_TRY(step.right, ReadBool(f.At("strip_right"), true));
  } else {
    return f.At("type").Wrong(
        "\"" + type +
        "\" is not supported; known are Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Replace, "
        "Prepend and Strip");
  }
  return step;
}

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

Result<AddedToken> ReadAddedToken(const Field& entry) {
  AddedToken token;
  BIFRONS_TRY(token.content, ReadString(entry.At("content")));
  const Field id = entry.At("id");
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

// Reads the long lists of the file (vocabulary, merges, added tokens) element by element into what they
// become, and keeps the few short parts that the rest of this file looks at as trees.
class FileVisitor : public JsonVisitor {
 public:
  explicit FileVisitor(const std::string& path) : path_(path) {}

  // The short parts, in their places.
  json document = json::object();
  bool is_object = false;

  Use Choose(const JsonPlace& place, Kind kind) override {
    if (place.depth() == 0) {
      is_object = kind == Kind::kObject;
      return is_object ? Use::kOpen : Use::kSkip;
    }
    if (place.depth() == 1) return ChoosePart(place.key(0), kind);
    if (place.depth() == 2 && place.key(0) == "model") return ChooseModelPart(place.key(1), kind);
    return Use::kTake;
  }

  Status Take(const JsonPlace& place, json& value) override {
    if (place.depth() == 1) {
      document[std::string(place.key(0))] = std::move(value);
    } else if (place.key(0) == "added_tokens") {
      BIFRONS_TRY(AddedToken token, ReadAddedToken(Field{&value, path_ + ": " + place.ToString()}));
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

  Status TakeVocabulary(const Field& f, TokenizerFile& file) {
    if (!has_vocabulary_) return f.Wrong("must be an object from entries to ids");
    file.vocabulary = std::move(vocabulary_);
    if (const auto twice = file.vocabulary.SortIds()) {
      return f.At(std::string(file.vocabulary.entry(*twice)).c_str())
          .Wrong("the id " + std::to_string(file.vocabulary.id(*twice)) +
                 " belongs to another entry as well");
    }
    return {};
  }

  // After the vocabulary, which may stand behind the merges in the file.
  Status TakeMerges(const Field& f, TokenizerFile& file) {
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
          return DataError(OneLine(f.where + "[" + std::to_string(PlaceOfMerge(file.merges.size())) +
                                   "]: \"" + std::string(text) + "\" is not in model.vocab"));
        }
        *id = *found;
      }
      file.merges.push_back(merge);
    }
    merge_texts_ = {};
    merge_sizes_ = {};
    return {};
  }

  Status TakeAddedTokens(const Field& f, TokenizerFile& file) {
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
        return wrong(i, "id",
                     "model.vocab gives \"" + tokens[i].content + "\" the id " + std::to_string(*id));
      }
      if (!id && file.vocabulary.EntryOf(tokens[i].id)) {
        return wrong(i, "id", "the id " + std::to_string(tokens[i].id) + taken);
      }
    }
    return {};
  }

 private:
  // Of a key that stands twice the last one counts, so each begins anew.
  Use ChoosePart(std::string_view key, Kind kind) {
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

  Use ChooseModelPart(std::string_view key, Kind kind) {
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

  Field FieldAt(const JsonPlace& place, const json& value) const {
    return {&value, path_ + ": " + place.ToString()};
  }

  Status TakeMerge(const JsonPlace& place, const json& value) {
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

  // Where the list has merge number `i` of those that were not passed over.
  size_t PlaceOfMerge(size_t i) const {
    for (const uint32_t skipped : skipped_merges_) i += skipped <= i;
    return i;
  }

  const std::string& path_;
  Vocabulary vocabulary_;
  std::string merge_texts_;  // left and right of one merge after another
  std::vector<std::pair<uint32_t, uint32_t>> merge_sizes_;
  std::vector<uint32_t> skipped_merges_;  // in ascending order
  std::vector<AddedToken> added_tokens_;
  bool has_vocabulary_ = false, has_merges_ = false, added_tokens_are_wrong_ = false;
};

Status ReadModel(const Field& model, FileVisitor& lists, TokenizerFile& file) {
  if (!model.present() || !model.value->is_object()) return model.Wrong("must be an object");
  if (const Field type = model.At("type"); type.present()) {  // old files leave it out
    BIFRONS_TRY(const std::string name, ReadString(type));
    if (name != "BPE") return type.Wrong("\"" + name + "\" is not supported; only BPE is");
  }
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const Field affix = model.At(name);
    if (!affix.present()) continue;
    BIFRONS_TRY(const std::string text, ReadString(affix));
    if (!text.empty()) return affix.Wrong("is not supported; it must be null");
  }
  if (const Field dropout = model.At("dropout"); dropout.present() && *dropout.value != 0.0) {
    return dropout.Wrong("is not supported; it must be null");
  }
  BIFRONS_RETURN_IF_ERROR(lists.TakeVocabulary(model.At("vocab"), file));
  BIFRONS_RETURN_IF_ERROR(lists.TakeMerges(model.At("merges"), file));
  BIFRONS_TRY(file.options.ignore_merges, ReadBool(model.At("ignore_merges"), false));
  BIFRONS_TRY(file.options.byte_fallback, ReadBool(model.At("byte_fallback"), false));
  BIFRONS_TRY(file.options.fuse_unknown, ReadBool(model.At("fuse_unk"), false));
  if (const Field unknown = model.At("unk_token"); unknown.present()) {
    BIFRONS_TRY(const std::string name, ReadString(unknown));
    file.options.unknown = file.vocabulary.IdOf(name);
    if (!file.options.unknown) return unknown.Wrong("\"" + name + "\" is not in model.vocab");
  }
  return {};
}

// The entry before the text in TemplateProcessing's `single`. ByteLevel's post-processing moves offsets only.
Status ReadPostProcessor(const Field& component, TokenizerFile& file) {
  BIFRONS_TRY(const auto steps, ReadSequence(component, "processors"));
  for (const Field& step : steps) {
    BIFRONS_TRY(const std::string type, ReadString(step.At("type")));
    if (type == "ByteLevel") continue;
    if (type != "TemplateProcessing") {
      return step.At("type").Wrong(
          "\"" + type + "\" is not supported; known are Sequence, ByteLevel and TemplateProcessing");
    }
    const Field single = step.At("single");
    if (!single.present() || !single.value->is_array()) return single.Wrong("must be a list");
    bool seen_text = false;
    for (size_t i = 0; i < single.value->size(); i++) {
      const Field special = single.At(i).At("SpecialToken");
      if (!special.present()) {
        if (!single.At(i).At("Sequence").present())
          return single.At(i).Wrong("must be a SpecialToken or a Sequence");
        seen_text = true;
        continue;
      }
      if (seen_text || file.template_bos) {
        return single.At(i).Wrong("only one token, before the text, is supported");
      }
      BIFRONS_TRY(file.template_bos, ReadString(special.At("id")));
    }
  }
  return {};
}

Status ReadDecoder(const Field& component, TokenizerFile& file) {
  if (!component.present()) {
    for (const PreTokenizerStep& step : file.pre_tokenizer) {
      if (step.kind == PreTokenizerStep::Kind::kByteLevel) file.byte_level_decoder = true;
    }
    return {};
  }
  BIFRONS_TRY(const auto steps, ReadSequence(component, "decoders"));
  for (const Field& step : steps) {
    BIFRONS_TRY(const std::string type, ReadString(step.At("type")));
    if (type == "ByteLevel") {
      file.byte_level_decoder = true;
    } else if (type == "ByteFallback") {
      file.byte_fallback_decoder = true;
    } else if (type != "Fuse") {
      return step.At("type").Wrong(
          "\"" + type + "\" is not supported; known are Sequence, ByteLevel, ByteFallback and Fuse");
    }
  }
  return {};
}

// A name, or an object with the name as `content`.
Result<std::string> ReadTokenName(const Field& f) {
  if (!f.present()) return std::string();
  return ReadString(f.value->is_object() ? f.At("content") : f);
}

}  // namespace

Result<TokenizerFile> ParseTokenizerFile(std::string_view text, const std::string& path) {
  BIFRONS_RETURN_IF_ERROR(CheckJson(text, path));
  FileVisitor visitor(path);
  BIFRONS_RETURN_IF_ERROR(VisitJson(text, path, kInvalidJson, visitor));
  if (!visitor.is_object) return DataError(path + kNoObject);
  const Field root{&visitor.document, path + ": "};
  TokenizerFile file;
  BIFRONS_RETURN_IF_ERROR(ReadModel(root.At("model"), visitor, file));
  BIFRONS_RETURN_IF_ERROR(visitor.TakeAddedTokens(root.At("added_tokens"), file));
  if (file.vocabulary.size() == 0 && file.added_tokens.all().empty()) {
    return root.At("model").At("vocab").Wrong("is empty");
  }

  BIFRONS_TRY(const auto normalizers, ReadSequence(root.At("normalizer"), "normalizers"));
  size_t growth = 1;
  for (const Field& f : normalizers) {
    BIFRONS_TRY(NormalizerStep step, ReadNormalizerStep(f));
    growth *= 1 + step.content.size();
    if (growth > kMaxGrowth)
      return f.At(step.kind == NormalizerStep::Kind::kPrepend ? "prepend" : "content")
          .Wrong("could grow a text without bounds, with the steps before it");
    file.normalizer.push_back(std::move(step));
  }
  BIFRONS_TRY(const auto pre_tokenizers, ReadSequence(root.At("pre_tokenizer"), "pretokenizers"));
  bool byte_level = false;
  for (const Field& f : pre_tokenizers) {
    BIFRONS_TRY(PreTokenizerStep step, ReadPreTokenizerStep(f));
    // Every further pass would encode the bytes of the pass before: the text would grow exponentially.
    if (step.kind == PreTokenizerStep::Kind::kByteLevel && std::exchange(byte_level, true)) {
      return f.At("type").Wrong("ByteLevel may stand only once in a pre-tokenizer");
    }
    file.pre_tokenizer.push_back(std::move(step));
  }
  BIFRONS_RETURN_IF_ERROR(ReadPostProcessor(root.At("post_processor"), file));
  BIFRONS_RETURN_IF_ERROR(ReadDecoder(root.At("decoder"), file));
  return file;
}

Result<TokenizerSettings> ParseTokenizerSettings(std::string_view text, const std::string& path) {
  BIFRONS_RETURN_IF_ERROR(CheckJson(text, path));
  // All else is passed over: the file repeats every added token, and more.
  struct SettingsVisitor : JsonVisitor {
    json document;
    Use Choose(const JsonPlace& place, Kind kind) override {
      if (place.depth() == 0) {
        if (kind == Kind::kObject) document = json::object();
        return kind == Kind::kObject ? Use::kOpen : Use::kSkip;
      }
      for (const char* known : {"add_bos_token", "bos_token", "eos_token", "pad_token", "unk_token"}) {
        if (place.key(0) == known) return Use::kTake;
      }
      return Use::kSkip;
    }
    Status Take(const JsonPlace& place, json& value) override {
      document[std::string(place.key(0))] = std::move(value);
      return {};
    }
  } visitor;
  BIFRONS_RETURN_IF_ERROR(VisitJson(text, path, kInvalidJson, visitor));
  if (!visitor.document.is_object()) return DataError(path + kNoObject);
  const Field root{&visitor.document, path + ": "};
  TokenizerSettings settings;
  BIFRONS_TRY(settings.add_bos, ReadBool(root.At("add_bos_token"), false));
  BIFRONS_TRY(settings.bos, ReadTokenName(root.At("bos_token")));
  BIFRONS_TRY(settings.eos, ReadTokenName(root.At("eos_token")));
  BIFRONS_TRY(settings.pad, ReadTokenName(root.At("pad_token")));
  BIFRONS_TRY(settings.unknown, ReadTokenName(root.At("unk_token")));
  return settings;
}

}  // namespace bifrons
