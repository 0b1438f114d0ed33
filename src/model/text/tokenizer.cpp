#include "src/model/text/tokenizer.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <unordered_map>
#include <unordered_set>

#include "src/base/mapped_file.h"
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

std::string_view TextOf(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

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
  /// Takes over what it keeps; the merges and added tokens stay for SetUp.
  explicit Impl(TokenizerFile& file)
      : bpe(std::move(file.vocabulary), file.options),
        normalizer(std::move(file.normalizer)),
        pre_tokenizer(std::move(file.pre_tokenizer)),
        byte_level_decoder(file.byte_level_decoder),
        byte_fallback_decoder(file.byte_fallback_decoder) {}

  void SetUp(const TokenizerFile& file, const TokenizerSettings& settings);
  std::string BytesOfEntry(std::string_view entry) const;

  Bpe bpe;
  std::vector<NormalizerStep> normalizer;
  std::vector<PreTokenizerStep> pre_tokenizer;
  bool byte_level_decoder, byte_fallback_decoder;
  AddedTokenMatcher raw_matcher, normalized_matcher;  // of the added tokens that a user may write
  std::unordered_map<std::string, int32_t, TextHash, std::equal_to<>> added_ids;
  std::unordered_map<int32_t, std::string> bytes_of_id;  // what an id stands for
  std::unordered_set<int32_t> protected_ids;
  int32_t size = 0;
  std::optional<int32_t> bos, eos, pad;
};

void Tokenizer::Impl::SetUp(const TokenizerFile& file, const TokenizerSettings& settings) {
  const auto is_protected = [&](const AddedToken& token) {
    return token.special ||
           std::find(std::begin(kMarkers), std::end(kMarkers), token.content) != std::end(kMarkers) ||
           token.content == settings.bos || token.content == settings.eos || token.content == settings.pad ||
           token.content == settings.unknown || token.content == file.template_bos;
  };
  bytes_of_id.reserve(bpe.vocabulary().size() + file.added_tokens.size());
  for (const auto& [entry, id] : bpe.vocabulary()) {
    bytes_of_id.emplace(id, BytesOfEntry(entry));
    size = std::max(size, id + 1);
  }
  for (const AddedToken& token : file.added_tokens) {
    added_ids.emplace(token.content, token.id);
    bytes_of_id[token.id] = token.content;
    size = std::max(size, token.id + 1);
    if (is_protected(token)) {
      protected_ids.insert(token.id);
      bpe.Protect(token.id);
    } else if (token.normalized) {
      normalized_matcher.Add(token, Normalize(normalizer, token.content));
    } else {
      raw_matcher.Add(token, token.content);
    }
  }
  for (size_t rank = 0; rank < file.merges.size(); rank++) {
    const auto& m = file.merges[rank];
    // Plain characters must not add up to a special token either.
    if (!protected_ids.contains(m.merged))
      bpe.AddMerge(m.left, m.right, static_cast<uint32_t>(rank), m.merged);
  }
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

Result<Tokenizer> Tokenizer::Load(const std::string& folder) {
  const std::string path = folder + "/tokenizer.json", config_path = folder + "/tokenizer_config.json";
  BIFRONS_TRY(const MappedFile file, MappedFile::Open(path));
  std::error_code ignored;
  if (!std::filesystem::exists(config_path, ignored)) return Parse(TextOf(file), {}, path);
  BIFRONS_TRY(const MappedFile config, MappedFile::Open(config_path));
  return Parse(TextOf(file), TextOf(config), path);
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

  Tokenizer tokenizer(std::make_unique<Impl>(file));
  tokenizer.impl_->SetUp(file, settings);
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
    if (skip_special && impl_->protected_ids.contains(id)) continue;
    const auto found = impl_->bytes_of_id.find(id);
    if (found != impl_->bytes_of_id.end()) bytes += found->second;
  }
  return ReplaceInvalidUtf8(bytes);
}

std::optional<int32_t> Tokenizer::IdOf(std::string_view token) const {
  const auto added = impl_->added_ids.find(token);
  return added != impl_->added_ids.end() ? added->second : impl_->bpe.IdOf(token);
}

int32_t Tokenizer::size() const { return impl_->size; }
std::optional<int32_t> Tokenizer::bos() const { return impl_->bos; }
std::optional<int32_t> Tokenizer::eos() const { return impl_->eos; }
std::optional<int32_t> Tokenizer::pad() const { return impl_->pad; }

}  // namespace bifrons
