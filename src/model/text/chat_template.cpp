#include "src/model/text/chat_template.h"

#include <optional>

#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

constexpr std::string_view kUser = "<|User|>", kAssistant = "<|Assistant|>", kBos = "<｜begin▁of▁sentence｜>",
                           kPad = "<｜▁pad▁｜>", kBeginOfImage = "<begin_of_image>",
                           kEndOfImage = "<end_of_image>", kPlaceholder = "<image_placeholder>",
                           kEos = "<｜end▁of▁sentence｜>";

// janus/models/processing_vlm.py: VLChatProcessor.system_prompt
constexpr std::string_view kSystemPrompt =
    "You are a helpful language and vision assistant. You are able to understand the visual content that the "
    "user provides, and assist the user with a variety of tasks using natural language.";

Error Missing(std::string_view token) {
  return DataError("tokenizer.json: added_tokens: \"" + std::string(token) +
                   "\" is missing; is this the tokenizer of a Janus model?");
}

std::string Stripped(std::string_view text) {
  const std::string valid = ReplaceInvalidUtf8(text);
  return std::string(StripPythonWhitespace(valid));
}

// Writes a conversation as janus/utils/conversation.py's get_prompt does (SeparatorStyle.DeepSeek). Text is
// collected until a token ends it, because the reference encodes what stands between two tokens in one go.
class Writer {
 public:
  Writer(const Tokenizer& tokenizer, ChatTemplate chat_template, const SpecialTokens& special)
      : tokenizer_(tokenizer), special_(special) {
    const auto user = tokenizer.IdOf(kUser), assistant = tokenizer.IdOf(kAssistant);
    if (chat_template == ChatTemplate::kJanusPro && user && assistant) user_ = user, assistant_ = assistant;
    result_.ids.push_back(special.bos);
  }

  void Text(const std::string& text) { pending_ += text; }
  void Token(int32_t id, int64_t count = 1) {
    Flush();
    result_.ids.insert(result_.ids.end(), static_cast<size_t>(count), id);
  }

  // "<|User|>: message\n\n"; a message of nothing leaves just "<|User|>:".
  void UserMessage(int64_t images, std::string_view text, const ImageTokens& image,
                   int64_t tokens_per_image) {
    Role(user_, "User");
    const std::string valid = ReplaceInvalidUtf8(text);
    std::string_view message = StripPythonWhitespace(valid);
    if (message.empty() && images == 0) return Text(":");
    // The reference strips a message with its placeholders, so what leads the text behind them stays.
    if (!message.empty() && images > 0) message = {valid.data(), message.data() + message.size()};
    Text(": ");
    for (int64_t i = 0; i < images; i++) {
      Token(special_.begin_of_image);
      result_.image_starts.push_back(static_cast<int64_t>(result_.ids.size()));
      Token(image.placeholder, tokens_per_image);
      Token(image.end_of_image);
      // Likewise, a line break that nothing follows goes.
      if (i + 1 < images || !message.empty()) Text("\n");
    }
    Text(std::string(message) + "\n\n");
  }
  void AssistantRole() { Role(assistant_, "Assistant"); }

  Conversation Finish() {
    Flush();
    return std::move(result_);
  }

 private:
  void Role(std::optional<int32_t> id, const char* word) {
    if (id) {
      Token(*id);
    } else {
      Text(word);
    }
  }
  void Flush() {
    const std::vector<int32_t> more = tokenizer_.Encode(pending_);
    result_.ids.insert(result_.ids.end(), more.begin(), more.end());
    pending_.clear();
  }

  const Tokenizer& tokenizer_;
  const SpecialTokens& special_;
  std::optional<int32_t> user_, assistant_;  // none: the roles are words
  std::string pending_;
  Conversation result_;
};

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

Result<ImageTokens> FindImageTokens(const Tokenizer& tokenizer) {
  const auto placeholder = tokenizer.IdOf(kPlaceholder), end_of_image = tokenizer.IdOf(kEndOfImage);
  if (!placeholder) return Missing(kPlaceholder);
  if (!end_of_image) return Missing(kEndOfImage);
  if (!tokenizer.eos()) return Missing(kEos);
  return ImageTokens{*placeholder, *end_of_image, *tokenizer.eos()};
}

DrawingPrompt EncodeDrawingPrompt(const Tokenizer& tokenizer, ChatTemplate chat_template,
                                  const SpecialTokens& special, std::string_view prompt) {
  Writer writer(tokenizer, chat_template, special);
  writer.UserMessage(0, prompt, {}, 0);
  writer.AssistantRole();
  writer.Text(":");
  writer.Token(special.begin_of_image);

  DrawingPrompt result;
  result.conditional = writer.Finish().ids;
  result.unconditional.assign(result.conditional.size(), special.pad);
  result.unconditional.front() = special.bos;
  result.unconditional.back() = special.begin_of_image;
  return result;
}

Conversation EncodeConversation(const Tokenizer& tokenizer, ChatTemplate chat_template,
                                const SpecialTokens& special, const ImageTokens& image,
                                std::span<const Turn> turns, int64_t tokens_per_image) {
  Writer writer(tokenizer, chat_template, special);
  writer.Text(std::string(kSystemPrompt) + "\n\n");
  for (size_t i = 0; i < turns.size(); i++) {
    writer.UserMessage(turns[i].images, turns[i].question, image, tokens_per_image);
    writer.AssistantRole();
    const std::string answer = Stripped(turns[i].answer);
    writer.Text(answer.empty() ? ":" : ": " + answer);
    if (!answer.empty()) writer.Token(image.eos);
  }
  return writer.Finish();
}

}  // namespace bifrons
