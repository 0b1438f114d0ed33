// All rows that are alive, and a step: one token for every one of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "src/engine/answer.h"
#include "src/engine/drawn_codes.h"
#include "src/engine/prefixes.h"
#include "src/engine/scored_text.h"
#include "src/engine/text_stream.h"
#include "src/model/janus.h"

namespace bifrons {

/// A picture that is being drawn: two rows, the guidance pair.
struct PictureRows {
  int64_t id = 0;
  DrawRequest request;
  int64_t prompt_tokens = 0;
  KvCache conditional, unconditional;
  /// The prompts' last hidden states, from which the first token is drawn; empty once it is.
  std::shared_ptr<const Prefix> conditional_prompt, unconditional_prompt;
  int64_t tokens = 0;               // drawn so far
  int64_t slot = 0;                 // of the batch's codes; given by Add
  std::vector<int32_t> codes = {};  // that the host has seen, with room for all; the last ones it never does
};

/// An answer that is being given: one row.
struct AnswerRow {
  int64_t id = 0;
  Answer answer;  // prompt_tokens and prefill_seconds are set; the rest when it is done
  KvCache cache;
  TextStream stream;
  Sampling sampling;
  uint64_t seed = 0;
  int64_t limit = 0;         // tokens of the answer at most
  DeviceTensor last_hidden;  // f32 [1, hidden] of the prompt's last position; empty after the first token
  std::chrono::steady_clock::time_point started;
};

/// A request that cannot go on.
struct FailedRows {
  int64_t id = 0;
  Error error;
};

/// What a step did.
struct StepResult {
  /// Not ok, say for want of memory: the step broke off, and nothing of it counts. All rows stand as they
  /// stood, and it can be taken again with fewer of them …
  Status status;
  /// … unless work may be missing that was given before it, nobody knows whose: then no row is left.
  bool lost = false;
  std::vector<DrawnCodes> pictures;  // whose codes are complete
  std::vector<Answer> answers;       // that are done
  /// Whose logits are not numbers (kBadData), and answers that could not be told or kept.
  std::vector<FailedRows> failed;
  int64_t image_tokens = 0, text_tokens = 0, rows = 0;  // sampled; rows that went on
  size_t bytes_read = 0;                                // weights and caches
};

/// Rows join and leave between steps. A row's tokens depend on the row alone.
///
/// Between two steps a row's state is its last token: a step embeds it, runs it through the transformer and
/// draws the next one from the head's logits. Rows that have just joined bring their prompt's last hidden
/// state instead. Pictures' tokens stay on the device, so that steps are given without waiting for them; the
/// host waits for answers' tokens only, which may end an answer.
class RowBatch {
 public:
  /// For `pictures` of them at once, at most. All work goes to janus.steps().
  RowBatch(Janus& janus, int64_t pictures);
  /// Waits for what was given.
  ~RowBatch();
  RowBatch(const RowBatch&) = delete;

  void Add(std::unique_ptr<PictureRows> picture);
  void Add(std::unique_ptr<AnswerRow> answer) { answers_.push_back(std::move(answer)); }
  void Add(std::unique_ptr<ScoredText> scored) { scored_.push_back(std::move(scored)); }
  /// Drops a request's rows, if they are here.
  bool Remove(int64_t id);

  bool empty() const { return pictures_.empty() && answers_.empty() && scored_.empty(); }
  const std::vector<std::unique_ptr<PictureRows>>& pictures() const { return pictures_; }

  /// One token for everyone; who is done or has none leaves. Throws nothing.
  StepResult Step(const TextCallback& on_text);

 private:
  // Pictures' tokens on their way to the host, where nobody waits for them.
  struct Sighting {
    Ticket ready;
    std::vector<int32_t> tokens;
    struct Whose {
      int64_t id, token;  // which request's which one
    };
    std::vector<Whose> whose;
  };

  void Give(StepResult& result);
  void Wait();
  void Take(const TextCallback& on_text, StepResult& result) noexcept;
  void Lose() noexcept;
  void GoOn(View x, StepResult& result);
  void EmbedPictures(std::span<const std::unique_ptr<PictureRows>> going, View x);
  void EmbedAnswers(std::span<const std::unique_ptr<AnswerRow>> going, View x);
  void SamplePictures(View hidden, StepResult& result);
  void SampleAnswers(View hidden);
  void GiveScored(StepResult& result);
  void TakeScored(StepResult& result) noexcept;
  bool TakeToken(AnswerRow& row, int32_t token, const TextCallback& on_text, StepResult& result) noexcept;
  void CheckTokens(StepResult& result) noexcept;
  void Drop(size_t picture) noexcept;
  bool Append(AnswerRow& row, int32_t token, const TextCallback& on_text) const;
  Answer Finish(AnswerRow& row, const TextCallback& on_text) const;

  Janus& janus_;
  Queue& queue_;
  // Rows of a step stand in the order of pictures that have just joined, other pictures, other answers,
  // answers that have just joined: so all that go on are side by side, and so are all of a kind.
  std::vector<std::unique_ptr<PictureRows>> pictures_;
  std::vector<std::unique_ptr<AnswerRow>> answers_;
  std::vector<std::unique_ptr<ScoredText>> scored_;  // whose rows are their own

  DeviceTensor codes_;                       // i32 [slots, tokens of a picture]
  std::vector<int64_t> free_slots_;          // of codes_
  DeviceTensor image_tokens_;                // i32 [slots, 1]: the last ones of pictures that go on
  DeviceTensor text_tokens_;                 // i32 [answers]
  std::deque<Sighting> sightings_;           // in order
  DeviceTensor x_;                           // f32 [rows, hidden]
  DeviceTensor image_logits_, text_logits_;  // f32 [rows, codebook], [rows, vocabulary]
  DeviceTensor embedded_;                    // f32 [pictures, hidden]
  // Of a step.
  std::vector<int32_t> tokens_;    // of the answers
  std::vector<Ticket> downloads_;  // what has to be here before the rows move on
  std::vector<SequenceSpan> spans_;
  std::vector<SampleRequest> requests_;
};

}  // namespace bifrons
