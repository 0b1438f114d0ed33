// All rows that are alive, and a step: one token for every one of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/sample_row.h"
#include "src/engine/answer.h"
#include "src/engine/draw.h"
#include "src/engine/text_stream.h"
#include "src/model/janus.h"

namespace bifrons {

/// A picture that is being drawn: two rows, the guidance pair.
struct PictureRows {
  int64_t id = 0;
  DrawRequest request;
  int64_t prompt_tokens = 0;
  KvCache conditional, unconditional;
  std::vector<float> hidden;   // [2, hidden] of the last positions
  std::vector<int32_t> codes;  // so far
};

/// An answer that is being given: one row.
struct AnswerRow {
  int64_t id = 0;
  Answer answer;  // prompt_tokens and prefill_seconds are set; the rest when it is done
  KvCache cache;
  TextStream stream;
  Sampling sampling;
  uint64_t seed = 0;
  int64_t limit = 0;          // tokens of the answer at most
  std::vector<float> hidden;  // [hidden] of the last position
  std::chrono::steady_clock::time_point started;
};

/// A request that cannot go on.
struct FailedRows {
  int64_t id = 0;
  Error error;
};

/// What a step did.
struct StepResult {
  std::vector<std::unique_ptr<PictureRows>> pictures;   // whose codes are complete
  std::vector<Answer> answers;                          // that are done
  std::vector<FailedRows> failed;                       // whose logits are not numbers (kBadData)
  int64_t image_tokens = 0, text_tokens = 0, rows = 0;  // sampled; rows that went on
  size_t bytes_read = 0;                                // weights and caches
};

/// Rows join and leave between steps. A row's tokens depend on the row alone.
class RowBatch {
 public:
  explicit RowBatch(Janus& janus) : janus_(janus) {}

  void Add(std::unique_ptr<PictureRows> picture) { pictures_.push_back(std::move(picture)); }
  void Add(std::unique_ptr<AnswerRow> answer) { answers_.push_back(std::move(answer)); }
  /// Drops a request's rows, if they are here.
  bool Remove(int64_t id);

  bool empty() const { return pictures_.empty() && answers_.empty(); }
  const std::vector<std::unique_ptr<PictureRows>>& pictures() const { return pictures_; }

  /// One token for everyone; who is done or has none leaves.
  StepResult Step(const TextCallback& on_text);

 private:
  void Gather();
  void MakeScratch(int64_t n);  // for rows of n logits
  SampleScratch ScratchOf(int thread, int64_t n);
  Error NotNumbers(const std::string& token) const;
  void SamplePictures(StepResult& result);
  void SampleAnswers(const TextCallback& on_text, StepResult& result);
  void GoOn(StepResult& result);
  bool Append(AnswerRow& row, int32_t token, const TextCallback& on_text) const;
  Answer Finish(AnswerRow& row, const TextCallback& on_text) const;

  Janus& janus_;
  std::vector<std::unique_ptr<PictureRows>> pictures_;  // their rows come first
  std::vector<std::unique_ptr<AnswerRow>> answers_;
  std::vector<float> sampled_values_;     // SampleScratch's, one after the other for every thread
  std::vector<uint64_t> sample_buckets_;  // likewise
  std::vector<int32_t> codes_, tokens_;
  std::vector<SequenceSpan> spans_;
  Tensor x_;                           // [rows, hidden]
  Tensor image_logits_, text_logits_;  // [rows, codebook], [rows, vocabulary]
  Tensor embedded_;                    // [pictures, hidden]
};

}  // namespace bifrons
