#include "src/model/text/tokenizer_json.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "src/base/json_depth.h"
#include "src/base/json_visitor.h"
#include "src/model/text/json_field.h"
#include "src/model/text/tokenizer_lists.h"
#include "src/model/text/tokenizer_steps.h"

namespace bifrons {
namespace {

// Of a text by all Replace and Prepend steps together; published normalizers have one or two, of a few bytes.
constexpr size_t kMaxGrowth = 4096;

using nlohmann::json;

Status CheckJson(std::string_view text, const std::string& path) {
  BIFRONS_RETURN_IF_ERROR(CheckJsonSize(text.size(), kMaxTokenizerBytes, path));
  return CheckJsonDepth(text, path);
}

constexpr char kInvalidJson[] = "not valid JSON; download the file again";
constexpr char kNoObject[] = ": not a JSON object";

Status ReadModel(const JsonField& model, TokenizerLists& lists, TokenizerFile& file) {
  if (!model.present() || !model.value->is_object()) return model.Wrong("must be an object");
  if (const JsonField type = model.At("type"); type.present()) {  // old files leave it out
    BIFRONS_TRY(const std::string name, ReadString(type));
    if (name != "BPE") return type.Wrong("\"" + name + "\" is not supported; only BPE is");
  }
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const JsonField affix = model.At(name);
    if (!affix.present()) continue;
    BIFRONS_TRY(const std::string text, ReadString(affix));
    if (!text.empty()) return affix.Wrong("is not supported; it must be null");
  }
  if (const JsonField dropout = model.At("dropout"); dropout.present() && *dropout.value != 0.0) {
    return dropout.Wrong("is not supported; it must be null");
  }
  BIFRONS_RETURN_IF_ERROR(lists.TakeVocabulary(model.At("vocab"), file));
  BIFRONS_RETURN_IF_ERROR(lists.TakeMerges(model.At("merges"), file));
  BIFRONS_TRY(file.options.ignore_merges, ReadBool(model.At("ignore_merges"), false));
  BIFRONS_TRY(file.options.byte_fallback, ReadBool(model.At("byte_fallback"), false));
  BIFRONS_TRY(file.options.fuse_unknown, ReadBool(model.At("fuse_unk"), false));
  if (const JsonField unknown = model.At("unk_token"); unknown.present()) {
    BIFRONS_TRY(const std::string name, ReadString(unknown));
    file.options.unknown = file.vocabulary.IdOf(name);
    if (!file.options.unknown) return unknown.Wrong("\"" + name + "\" is not in model.vocab");
  }
  return {};
}

// The entry before the text in TemplateProcessing's `single`. ByteLevel's post-processing moves offsets only.
Status ReadPostProcessor(const JsonField& component, TokenizerFile& file) {
  BIFRONS_TRY(const auto steps, ReadSequence(component, "processors"));
  for (const JsonField& step : steps) {
    BIFRONS_TRY(const std::string type, ReadString(step.At("type")));
    if (type == "ByteLevel") continue;
    if (type != "TemplateProcessing") {
      return step.At("type").Wrong(
          "\"" + type + "\" is not supported; known are Sequence, ByteLevel and TemplateProcessing");
    }
    const JsonField single = step.At("single");
    if (!single.present() || !single.value->is_array()) return single.Wrong("must be a list");
    bool seen_text = false;
    for (size_t i = 0; i < single.value->size(); i++) {
      const JsonField special = single.At(i).At("SpecialToken");
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

Status ReadDecoder(const JsonField& component, TokenizerFile& file) {
  if (!component.present()) {
    for (const PreTokenizerStep& step : file.pre_tokenizer) {
      if (step.kind == PreTokenizerStep::Kind::kByteLevel) file.byte_level_decoder = true;
    }
    return {};
  }
  BIFRONS_TRY(const auto steps, ReadSequence(component, "decoders"));
  for (const JsonField& step : steps) {
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
Result<std::string> ReadTokenName(const JsonField& f) {
  if (!f.present()) return std::string();
  return ReadString(f.value->is_object() ? f.At("content") : f);
}

}  // namespace

Result<TokenizerFile> ParseTokenizerFile(std::string_view text, const std::string& path) {
  BIFRONS_RETURN_IF_ERROR(CheckJson(text, path));
  TokenizerLists visitor(path);
  BIFRONS_RETURN_IF_ERROR(VisitJson(text, path, kInvalidJson, visitor));
  if (!visitor.is_object) return DataError(path + kNoObject);
  const JsonField root{&visitor.document, path + ": "};
  TokenizerFile file;
  BIFRONS_RETURN_IF_ERROR(ReadModel(root.At("model"), visitor, file));
  BIFRONS_RETURN_IF_ERROR(visitor.TakeAddedTokens(root.At("added_tokens"), file));
  if (file.vocabulary.size() == 0 && file.added_tokens.all().empty()) {
    return root.At("model").At("vocab").Wrong("is empty");
  }

  BIFRONS_TRY(const auto normalizers, ReadSequence(root.At("normalizer"), "normalizers"));
  size_t growth = 1;
  for (const JsonField& f : normalizers) {
    BIFRONS_TRY(NormalizerStep step, ReadNormalizerStep(f));
    growth *= 1 + step.content.size();
    if (growth > kMaxGrowth)
      return f.At(step.kind == NormalizerStep::Kind::kPrepend ? "prepend" : "content")
          .Wrong("could grow a text without bounds, with the steps before it");
    file.normalizer.push_back(std::move(step));
  }
  BIFRONS_TRY(const auto pre_tokenizers, ReadSequence(root.At("pre_tokenizer"), "pretokenizers"));
  bool byte_level = false;
  for (const JsonField& f : pre_tokenizers) {
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
  const JsonField root{&visitor.document, path + ": "};
  TokenizerSettings settings;
  BIFRONS_TRY(settings.add_bos, ReadBool(root.At("add_bos_token"), false));
  BIFRONS_TRY(settings.bos, ReadTokenName(root.At("bos_token")));
  BIFRONS_TRY(settings.eos, ReadTokenName(root.At("eos_token")));
  BIFRONS_TRY(settings.pad, ReadTokenName(root.At("pad_token")));
  BIFRONS_TRY(settings.unknown, ReadTokenName(root.At("unk_token")));
  return settings;
}

}  // namespace bifrons
