// How probable a given text is as an answer: rows of a batch that draw no token.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "src/engine/answer.h"
#include "src/model/janus.h"

namespace bifrons {

/// Tokens of a text as the beginning of an answer, which begins with the space that follows "Assistant:".
inline std::vector<int32_t> AnswerTokens(const Janus& janus, std::string_view text) {
  return janus.tokenizer().Encode(" " + std::string(text));
}

/// A prefilled prompt and the text that is to follow it. All tokens are known, so a step serves several.
class ScoredText {
 public:
  /// Tokens that a step serves at most: it takes hardly longer than a picture's two rows.
  static constexpr int64_t kTokensPerStep = 16;
  /// Bytes beside keys and values.
  static size_t BufferBytes(const JanusConfig& config);

  /// `cache` holds the prompt and has room for the text; last_hidden f32 [1, hidden] is that of the prompt's
  /// last position. `answer` has its id and what is known of the prompt. `tokens` are not empty.
  ScoredText(Janus& janus, Answer answer, KvCache cache, DeviceTensor last_hidden,
             std::vector<int32_t> tokens);

  int64_t id() const { return answer_.id; }
  /// Rows of the next step.
  int64_t rows() const;
  /// Gives the next step's work to steps(); given again, it does the same. The moment when its logits are
  /// here.
  Ticket Give(Janus& janus);
  /// Takes in what was given, once it is here. Whether that was all.
  bool Take();
  /// Then: the answer with its log_probability, NaN where logits were not numbers.
  Answer Finish() { return std::move(answer_); }

 private:
  Answer answer_;
  KvCache cache_;
  DeviceTensor last_hidden_;
  std::vector<int32_t> tokens_;
  DeviceTensor hidden_, logits_;  // f32 [rows, hidden], [rows, vocabulary]
  std::vector<float> on_host_;    // of logits_
  int64_t vocabulary_ = 0, scored_ = 0;
};

}  // namespace bifrons
