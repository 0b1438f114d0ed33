#include "src/model/text/tokenizer.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <vector>

#include "src/model/text/tokenizer_json.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

// What the templates of the reference write themselves (janus/utils/conversation.py, processing_vlm.py). A
// user's words must not become one, even in a file that does not call it special.
constexpr std::string_view kMarkers[] = {
    "<|User|>",       "<|Assistant|>",           "<image_placeholder>",   "<begin_of_image>",
    "<end_of_image>", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"};
constexpr std::string_view kEosMarker = "<｜end▁of▁sentence｜>", kPadMarker = "<｜▁pad▁｜>";

// <0x41> → 0x41, or -1.
int ByteOfName(std::string_view entry) {
  if (entry.size() != 6 || !entry.starts_with("<0x") || entry[5] != '>') return -1;
  int value = 0;
  for (char c : entry.substr(3, 2)) {
    const size_t digit = std::string_view("0123456789ABCDEF").find(c);
    if (digit == std::string_view::npos) return -1;
    value = value * 16 + static_cast<int>(digit);
  }
  return value;
}

}  // namespace

struct Tokenizer::Impl {
  /// Takes what it keeps out of `file`.
  Impl(TokenizerFile& file, const TokenizerSettings& settings)
      : added_tokens(std::move(file.added_tokens)),
        bpe(std::move(file.vocabulary), std::move(file.merges), ProtectedIds(added_tokens, file, settings),
            file.options),
        normalizer(std::move(file.normalizer)),
        pre_tokenizer(std::move(file.pre_tokenizer)),
        byte_level_decoder(file.byte_level_decoder),
        byte_fallback_decoder(file.byte_fallback_decoder) {}

  static std::vector<int32_t> ProtectedIds(const AddedTokens& tokens, const TokenizerFile& file,
                                           const TokenizerSettings& settings);
  /// Fills what is left to fill. `path` is for messages.
  Status SetUp(const std::string& path);
  std::string BytesOfEntry(std::string_view entry) const;

  AddedTokens added_tokens;
  Bpe bpe;
  std::vector<NormalizerStep> normalizer;
  std::vector<PreTokenizerStep> pre_tokenizer;
  bool byte_level_decoder, byte_fallback_decoder;
  AddedTokenMatcher raw_matcher, normalized_matcher;  // of the added tokens that a user may write
  int32_t size = 0;
  std::optional<int32_t> bos, eos, pad;
};

std::vector<int32_t> Tokenizer::Impl::ProtectedIds(const AddedTokens& tokens, const TokenizerFile& file,
                                                   const TokenizerSettings& settings) {
  std::vector<int32_t> ids;
  for (const AddedToken& token : tokens.all()) {
    if (token.special ||
        std::find(std::begin(kMarkers), std::end(kMarkers), token.content) != std::end(kMarkers) ||
        token.content == settings.bos || token.content == settings.eos || token.content == settings.pad ||
        token.content == settings.unknown || token.content == file.template_bos) {
      ids.push_back(token.id);
    }
  }
  return ids;
}

Status Tokenizer::Impl::SetUp(const std::string& path) {
  for (size_t i = 0; i < bpe.vocabulary().size(); i++) size = std::max(size, bpe.vocabulary().id(i) + 1);
  std::vector<AddedTokenMatcher::Pattern> raw, normalized;
  const std::vector<AddedToken>& tokens = added_tokens.all();
  for (size_t i = 0; i < tokens.size(); i++) {
    const AddedToken& token = tokens[i];
    size = std::max(size, token.id + 1);
    if (bpe.IsProtected(token.id)) continue;
    if (!token.normalized) {
      raw.push_back({token.content, &token});
      continue;
    }
    normalized.push_back({Normalize(normalizer, token.content), &token});
    if (normalized.back().content.size() > 4 * kMaxAddedTokenBytes) {
      return DataError(path + ": added_tokens[" + std::to_string(i) + "].content: longer than " +
                       std::to_string(4 * kMaxAddedTokenBytes) + " bytes when it is normalized");
    }
  }
  raw_matcher = AddedTokenMatcher(std::move(raw));
  normalized_matcher = AddedTokenMatcher(std::move(normalized));
  return {};
}

std::string Tokenizer::Impl::BytesOfEntry(std::string_view entry) const {
  if (byte_fallback_decoder) {
    if (const int byte = ByteOfName(entry); byte >= 0) return std::string(1, static_cast<char>(byte));
  }
  if (!byte_level_decoder) return std::string(entry);
  std::string bytes;
  for (size_t i = 0; i < entry.size();) {
    const CodePoint c = DecodeUtf8(entry.substr(i));
    i += c.bytes;
    const int byte = ByteOfCharacter(c.value);
    if (byte < 0) return std::string(entry);
    bytes += static_cast<char>(byte);
  }
  return bytes;
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::Load(const ModelTexts& texts) {
  BIFRONS_TRY(const ModelText file, texts.Get("tokenizer.json"));
  BIFRONS_TRY(const std::optional<ModelText> config, texts.Find("tokenizer_config.json"));
  return Parse(file.text, config ? config->text : std::string_view(), file.path);
}

Result<Tokenizer> Tokenizer::Parse(std::string_view tokenizer_json, std::string_view config_json,
                                   const std::string& path) {
  BIFRONS_TRY(TokenizerFile file, ParseTokenizerFile(tokenizer_json, path));
  const std::string config_path =
      (std::filesystem::path(path).parent_path() / "tokenizer_config.json").string();
  TokenizerSettings settings;
  if (!config_json.empty()) {
    BIFRONS_TRY(settings, ParseTokenizerSettings(config_json, config_path));
  }

  Tokenizer tokenizer(std::make_unique<Impl>(file, settings));
  BIFRONS_RETURN_IF_ERROR(tokenizer.impl_->SetUp(path));
  Impl& impl = *tokenizer.impl_;
  impl.eos = tokenizer.IdOf(settings.eos.empty() ? kEosMarker : settings.eos);
  impl.pad = tokenizer.IdOf(kPadMarker);
  if (!impl.pad && !settings.pad.empty()) impl.pad = tokenizer.IdOf(settings.pad);
  if (file.template_bos) {
    impl.bos = tokenizer.IdOf(*file.template_bos);
    if (!impl.bos) {
      return DataError(
          OneLine(path + ": post_processor.single: \"" + *file.template_bos + "\" is not an entry"));
    }
  } else if (settings.add_bos) {
    if (settings.bos.empty())
      return DataError(config_path + ": bos_token: missing, but add_bos_token is true");
    impl.bos = tokenizer.IdOf(settings.bos);
    if (!impl.bos)
      return DataError(OneLine(config_path + ": bos_token: \"" + settings.bos + "\" is not an entry"));
  }
  return tokenizer;
}

std::vector<int32_t> Tokenizer::Encode(std::string_view text) const {
  const Impl& impl = *impl_;
  const std::string valid = ReplaceInvalidUtf8(text);
  std::vector<int32_t> ids;
  Bpe::Scratch scratch;
  const auto add_token = [&](int32_t id) { ids.push_back(id); };
  const auto encode_plain = [&](std::string_view part) {
    const Pieces pieces = PreTokenize(impl.pre_tokenizer, part);
    for (const auto& [begin, end] : pieces.ranges) {
      impl.bpe.Encode(std::string_view(pieces.text).substr(begin, end - begin), scratch, ids);
    }
  };
  // tokenizers: AddedVocabulary::extract_and_normalize
  impl.raw_matcher.Split(
      valid,
      [&](std::string_view part) {
        impl.normalized_matcher.Split(Normalize(impl.normalizer, part), encode_plain, add_token);
      },
      add_token);
  return ids;
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (skip_special && impl_->bpe.IsProtected(id)) continue;
    if (const AddedToken* added = impl_->added_tokens.Find(id)) {
      bytes += added->content;
    } else if (const auto entry = impl_->bpe.vocabulary().EntryOf(id)) {
      bytes += impl_->BytesOfEntry(*entry);
    }
  }
  return ReplaceInvalidUtf8(bytes);
}

std::optional<int32_t> Tokenizer::IdOf(std::string_view token) const {
  const AddedToken* added = impl_->added_tokens.Find(token);
  return added ? added->id : impl_->bpe.IdOf(token);
}

int32_t Tokenizer::size() const { return impl_->size; }
std::optional<int32_t> Tokenizer::bos() const { return impl_->bos; }
std::optional<int32_t> Tokenizer::eos() const { return impl_->eos; }
std::optional<int32_t> Tokenizer::pad() const { return impl_->pad; }

}  // namespace bifrons
