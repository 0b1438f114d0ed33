// From a prompt or a conversation to the exact ids of the reference's formats.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "src/model/text/tokenizer.h"

namespace bifrons {

/// janus/utils/conversation.py: Janus-Pro's roles are tokens `<|User|>`, `<|Assistant|>`; Janus-1.3B's are
/// the words `User`, `Assistant`.
enum class ChatTemplate { kJanusPro, kJanus13B };

/// As --template takes it: "janus-pro", "janus-1.3b".
constexpr const char* NameOf(ChatTemplate chat_template) {
  return chat_template == ChatTemplate::kJanusPro ? "janus-pro" : "janus-1.3b";
}

/// "auto" (by whether the vocabulary holds `<|User|>`), "janus-pro" or "janus-1.3b".
Result<ChatTemplate> ChooseTemplate(std::string_view name, const Tokenizer&);

/// Ids of special tokens, looked up by name in the tokenizer, never hard-coded. Missing ones are an error by
/// name. BOS is the tokenizer's own or, where it adds none, `<｜begin▁of▁sentence｜>`: a prompt begins with
/// exactly one. Pad is
/// `<｜▁pad▁｜>` (janus/models/processing_vlm.py: pad_id), else tokenizer_config.json's pad_token.
struct SpecialTokens {
  int32_t bos = 0, pad = 0, begin_of_image = 0;
};
Result<SpecialTokens> FindSpecialTokens(const Tokenizer&);

struct DrawingPrompt {
  std::vector<int32_t> conditional;    // BOS … <begin_of_image>
  std::vector<int32_t> unconditional;  // same length; everything between the first and the last id is pad
};
/// The generation format: no system prompt, the prompt stripped (Python's idea of white space), invalid UTF-8
/// replaced. The text between two role tokens is encoded in one go, as the reference does; nothing in
/// `prompt` becomes a token of the template. // generation_inference.py, janus/models/processing_vlm.py:
/// apply_sft_template_for_multi_turn_prompts
DrawingPrompt EncodeDrawingPrompt(const Tokenizer&, ChatTemplate, const SpecialTokens&,
                                  std::string_view prompt);

/// Ids that only conversations about images need. EOS is the tokenizer's; it ends an answer.
struct ImageTokens {
  int32_t placeholder = 0, end_of_image = 0, eos = 0;
};
/// `<image_placeholder>`, `<end_of_image>` and EOS; missing ones are an error by name.
Result<ImageTokens> FindImageTokens(const Tokenizer&);

/// A question and its answer; the last turn's is still to be given.
struct Turn {
  int64_t images = 0;  // images that stand in front of this question
  std::string question;
  std::string answer;
};

struct Conversation {
  std::vector<int32_t> ids;           // BOS … "<|Assistant|>:"
  std::vector<int64_t> image_starts;  // index of every image's first placeholder, in order
};
/// The understanding format: the reference's system prompt, every image as <begin_of_image>,
/// `tokens_per_image` placeholders, <end_of_image> and a line break, then the question; an answer ends in
/// EOS. Messages are stripped, images included (so a question behind one keeps the white space in front of
/// it), invalid UTF-8 is replaced, and nothing in a text becomes a token of the template.
/// janus/models/processing_vlm.py: process_one, add_image_token
Conversation EncodeConversation(const Tokenizer&, ChatTemplate, const SpecialTokens&, const ImageTokens&,
                                std::span<const Turn> turns, int64_t tokens_per_image);

}  // namespace bifrons
