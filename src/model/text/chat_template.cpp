#include "src/model/text/chat_template.h"

#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

constexpr std::string_view kUser = "<|User|>", kAssistant = "<|Assistant|>", kBos = "<｜begin▁of▁sentence｜>",
                           kPad = "<｜▁pad▁｜>", kBeginOfImage = "<begin_of_image>";

Error Missing(std::string_view token) {
  return DataError("tokenizer.json: added_tokens: \"" + std::string(token) +
                   "\" is missing; is this the tokenizer of a Janus model?");
}

}  // namespace

Result<ChatTemplate> ChooseTemplate(std::string_view name, const Tokenizer& tokenizer) {
  const bool has_roles = tokenizer.IdOf(kUser).has_value() && tokenizer.IdOf(kAssistant).has_value();
  if (name == "auto") return has_roles ? ChatTemplate::kJanusPro : ChatTemplate::kJanus13B;
  if (name == "janus-1.3b") return ChatTemplate::kJanus13B;
  if (name != "janus-pro") {
    return UsageError("--template: \"" + std::string(name) + "\" is none of auto, janus-pro, janus-1.3b");
  }
  if (!has_roles) {
    return UsageError(
        "--template: this model's vocabulary has no <|User|> and <|Assistant|>; use janus-1.3b");
  }
  return ChatTemplate::kJanusPro;
}

Result<SpecialTokens> FindSpecialTokens(const Tokenizer& tokenizer) {
  // A tokenizer that puts no BOS before a text by itself is no reason to do without: the models were trained
  // with it.
  const auto bos = tokenizer.bos() ? tokenizer.bos() : tokenizer.IdOf(kBos);
  if (!bos) return Missing(kBos);
  if (!tokenizer.pad()) return Missing(kPad);
  const auto begin_of_image = tokenizer.IdOf(kBeginOfImage);
  if (!begin_of_image) return Missing(kBeginOfImage);
  return SpecialTokens{*bos, *tokenizer.pad(), *begin_of_image};
}

// janus/utils/conversation.py: get_prompt, SeparatorStyle.DeepSeek, with an empty system prompt and an empty
// last message.
DrawingPrompt EncodeDrawingPrompt(const Tokenizer& tokenizer, ChatTemplate chat_template,
                                  const SpecialTokens& special, std::string_view prompt) {
  const std::string valid = ReplaceInvalidUtf8(prompt);
  const std::string_view stripped = StripPythonWhitespace(valid);
  const std::string message = stripped.empty() ? ":" : ": " + std::string(stripped) + "\n\n";

  DrawingPrompt result;
  std::vector<int32_t>& ids = result.conditional;
  const auto append_text = [&](const std::string& text) {
    const std::vector<int32_t> more = tokenizer.Encode(text);
    ids.insert(ids.end(), more.begin(), more.end());
  };
  ids.push_back(special.bos);
  const auto user = tokenizer.IdOf(kUser), assistant = tokenizer.IdOf(kAssistant);
  if (chat_template == ChatTemplate::kJanusPro && user && assistant) {
    ids.push_back(*user);
    append_text(message);
    ids.push_back(*assistant);
    append_text(":");
  } else {
    append_text("User" + message + "Assistant:");
  }
  ids.push_back(special.begin_of_image);

  result.unconditional.assign(ids.size(), special.pad);
  result.unconditional.front() = special.bos;
  result.unconditional.back() = special.begin_of_image;
  return result;
}

}  // namespace bifrons
