// Questions about images in, text out: many conversations decoded as one batch that they join and leave.
// inference.py, janus/models/modeling_vlm.py: language_model.generate
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "src/engine/prefill.h"
#include "src/engine/sampler.h"
#include "src/engine/text_stream.h"
#include "src/model/janus.h"

namespace bifrons {

constexpr int64_t kDefaultMaxTokens = 512;  // inference.py: max_new_tokens
constexpr const char* kDefaultQuestion = "Describe this image.";

struct AnswerRequest {
  std::vector<Turn> turns;            // the last one's answer is wanted
  std::vector<ImageFeatures> images;  // of all turns, in order
  Sampling sampling{.guidance = 1, .temperature = 0};
  uint64_t seed = 0;
  int64_t max_tokens = kDefaultMaxTokens;  // the model's context may end an answer earlier
};

struct Answer {
  int64_t id = 0;  // as given to Add
  std::vector<int32_t> tokens;  // without EOS
  std::string text;             // stripped
  bool complete = false;        // ended by EOS, not by a limit
  int64_t prompt_tokens = 0;    // image features included
  double prefill_seconds = 0, decode_seconds = 0;  // decoding in company, from the prefill's end
};

/// Called with more text of the request `id`, in whole characters.
using TextCallback = std::function<void(int64_t id, const std::string& text)>;

/// Refuses a conversation that leaves no room for an answer; an error (kUsage) names the numbers.
Status CheckContext(Janus& janus, std::span<const Turn> turns);

/// The prefilled prompt of a conversation, kept for its next turn.
struct PromptCache {
  std::vector<int32_t> ids;
  std::vector<ImageFeatures> images;
  std::optional<KvCache> kv;
};

/// What is being answered. An answer depends on its own request only: not on what else is in the batch or
/// joins it, nor on the thread count, nor on what a PromptCache saved.
class AnswerBatch {
 public:
  explicit AnswerBatch(Janus& janus) : janus_(janus) {}

  /// Prefills a request, which joins the batch with the next step. `id` is the caller's. With `cache`, the
  /// whole chunks that agree with its prompt are taken from it, and this prompt is left there. Errors:
  /// CheckContext's.
  Status Add(int64_t id, const AnswerRequest& request, PromptCache* cache = nullptr);

  /// One token for everyone; returns those whose answer is done, which leave.
  std::vector<Answer> Step(const TextCallback& on_text);

  int64_t size() const { return static_cast<int64_t>(live_.size()); }

 private:
  using Clock = std::chrono::steady_clock;
  struct Sequence {
    Answer answer;
    KvCache kv;
    TextStream stream;
    Sampling sampling;
    uint64_t seed = 0;
    int64_t limit = 0;          // tokens of the answer at most
    std::vector<float> hidden;  // [hidden] of the last position
    Clock::time_point started;
  };
  bool Append(Sequence& sequence, int32_t token, const TextCallback& on_text) const;
  Answer Finish(Sequence& sequence, const TextCallback& on_text) const;

  Janus& janus_;
  Sampler sampler_;
  std::vector<std::unique_ptr<Sequence>> live_;
  Tensor x_, logits_;  // [rows, hidden], [rows, vocabulary]; grown to the largest batch seen
};

/// Log-probability of `text` as the beginning of the answer. Errors: a conversation and text that do not fit
/// (kUsage), with the numbers.
Result<double> LogProbability(Janus& janus, const AnswerRequest& request, std::string_view text);

/// Logits [vocabulary] of the answer's first token. Errors: CheckContext's.
Result<std::vector<float>> FirstTokenLogits(Janus& janus, const AnswerRequest& request);

}  // namespace bifrons
