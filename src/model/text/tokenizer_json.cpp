#include "src/model/text/tokenizer_json.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "src/base/json_depth.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

// Of a text by all Replace steps together; published normalizers have one or two, of a few bytes.
constexpr size_t kMaxGrowth = 4096;

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

Result<json> ParseJson(std::string_view text, const std::string& path) {
  BIFRONS_RETURN_IF_ERROR(CheckJsonDepth(text, path));
  json value = json::parse(text.begin(), text.end(), nullptr, false);
  if (value.is_discarded()) return DataError(path + ": not valid JSON; download the file again");
  if (!value.is_object()) return DataError(path + ": not a JSON object");
  return value;
}

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

Status ReadVocabulary(const Field& f, TokenizerFile& file, std::unordered_set<int32_t>& ids) {
  if (!f.present() || !f.value->is_object()) return f.Wrong("must be an object from entries to ids");
  file.vocabulary.reserve(f.value->size());
  ids.reserve(f.value->size());
  for (const auto& [entry, id] : f.value->items()) {
    if (!IsId(id)) return f.At(entry.c_str()).Wrong(kIdRule);
    if (!ids.insert(id.get<int32_t>()).second) {
      return f.At(entry.c_str()).Wrong("the id " + id.dump() + " belongs to another entry as well");
    }
    file.vocabulary.emplace(entry, id.get<int32_t>());
  }
  return {};
}

// "left right" or ["left", "right"].
Status SplitMerge(const Field& list, size_t i, std::string_view& left, std::string_view& right) {
  const json& merge = (*list.value)[i];
  if (merge.is_string()) {
    const std::string& both = merge.get_ref<const std::string&>();
#ifdef BIFRONS_PLANTED_BUGS
    size_t space = 0;
    while (both.data()[space] != ' ') space++;
#else
    const size_t space = both.find(' ');
    if (space == std::string::npos || both.find(' ', space + 1) != std::string::npos) {
      return list.At(i).Wrong("must be two entries with one space between them");
    }
#endif
    left = std::string_view(both).substr(0, space);
    right = std::string_view(both).substr(space + 1);
    return {};
  }
  if (!merge.is_array() || merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string()) {
    return list.At(i).Wrong("must be a string or a list of two strings");
  }
  left = merge[0].get_ref<const std::string&>();
  right = merge[1].get_ref<const std::string&>();
  return {};
}

Status ReadMerges(const Field& f, TokenizerFile& file) {
  if (!f.present() || !f.value->is_array()) return f.Wrong("must be a list");
  file.merges.reserve(f.value->size());
  std::string both;
  for (size_t i = 0; i < f.value->size(); i++) {
    if ((*f.value)[i].is_string() && (*f.value)[i].get_ref<const std::string&>().starts_with("#version"))
      continue;
    std::string_view left, right;
    BIFRONS_RETURN_IF_ERROR(SplitMerge(f, i, left, right));
    both = left;
    both += right;
    TokenizerFile::Merge merge{};
    for (auto [text, id] : {std::pair<std::string_view, int32_t*>{left, &merge.left},
                            {right, &merge.right},
                            {both, &merge.merged}}) {
      const auto found = file.vocabulary.find(text);
      if (found == file.vocabulary.end()) {
        return f.At(i).Wrong("\"" + std::string(text) + "\" is not in model.vocab");
      }
      *id = found->second;
    }
    file.merges.push_back(merge);
  }
  return {};
}

Status ReadModel(const Field& model, TokenizerFile& file, std::unordered_set<int32_t>& ids) {
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
  BIFRONS_RETURN_IF_ERROR(ReadVocabulary(model.At("vocab"), file, ids));
  BIFRONS_RETURN_IF_ERROR(ReadMerges(model.At("merges"), file));
  BIFRONS_TRY(file.options.ignore_merges, ReadBool(model.At("ignore_merges"), false));
  BIFRONS_TRY(file.options.byte_fallback, ReadBool(model.At("byte_fallback"), false));
  BIFRONS_TRY(file.options.fuse_unknown, ReadBool(model.At("fuse_unk"), false));
  if (const Field unknown = model.At("unk_token"); unknown.present()) {
    BIFRONS_TRY(const std::string name, ReadString(unknown));
    const auto found = file.vocabulary.find(name);
    if (found == file.vocabulary.end()) return unknown.Wrong("\"" + name + "\" is not in model.vocab");
    file.options.unknown = found->second;
  }
  return {};
}

Status ReadAddedTokens(const Field& f, TokenizerFile& file, std::unordered_set<int32_t>& ids) {
  if (!f.present()) return {};
  if (!f.value->is_array()) return f.Wrong("must be a list");
  std::unordered_set<std::string> contents;
  for (size_t i = 0; i < f.value->size(); i++) {
    const Field entry = f.At(i);
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
    if (!contents.insert(token.content).second) {
      return entry.At("content").Wrong("\"" + token.content + "\" is listed twice");
    }
    const auto in_vocabulary = file.vocabulary.find(token.content);
    if (in_vocabulary != file.vocabulary.end()) {
      if (in_vocabulary->second != token.id) {
        return id.Wrong("model.vocab gives \"" + token.content + "\" the id " +
                        std::to_string(in_vocabulary->second));
      }
    } else if (!ids.insert(token.id).second) {
      return id.Wrong("the id " + std::to_string(token.id) + " belongs to another entry as well");
    }
    file.added_tokens.push_back(std::move(token));
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
  BIFRONS_TRY(const json document, ParseJson(text, path));
  const Field root{&document, path + ": "};
  TokenizerFile file;
  std::unordered_set<int32_t> ids;
  BIFRONS_RETURN_IF_ERROR(ReadModel(root.At("model"), file, ids));
  BIFRONS_RETURN_IF_ERROR(ReadAddedTokens(root.At("added_tokens"), file, ids));
  if (ids.empty()) return root.At("model").At("vocab").Wrong("is empty");

  BIFRONS_TRY(const auto normalizers, ReadSequence(root.At("normalizer"), "normalizers"));
  size_t growth = 1;
  for (const Field& f : normalizers) {
    BIFRONS_TRY(NormalizerStep step, ReadNormalizerStep(f));
    if (step.kind == NormalizerStep::Kind::kReplace) growth *= 1 + step.content.size();
    if (growth > kMaxGrowth)
      return f.At("content").Wrong("could grow a text without bounds, with the steps before it");
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
  BIFRONS_TRY(const json document, ParseJson(text, path));
  const Field root{&document, path + ": "};
  TokenizerSettings settings;
  BIFRONS_TRY(settings.add_bos, ReadBool(root.At("add_bos_token"), false));
  BIFRONS_TRY(settings.bos, ReadTokenName(root.At("bos_token")));
  BIFRONS_TRY(settings.eos, ReadTokenName(root.At("eos_token")));
  BIFRONS_TRY(settings.pad, ReadTokenName(root.At("pad_token")));
  BIFRONS_TRY(settings.unknown, ReadTokenName(root.At("unk_token")));
  return settings;
}

}  // namespace bifrons
