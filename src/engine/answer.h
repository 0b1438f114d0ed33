// Questions about images: what is asked, what comes of it, and asking one and waiting.
// inference.py, janus/models/modeling_vlm.py: language_model.generate
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/sampling.h"
#include "src/base/result.h"
#include "src/engine/prefill.h"
#include "src/model/janus.h"

namespace bifrons {

constexpr int64_t kDefaultMaxTokens = 512;  // inference.py: max_new_tokens
constexpr const char* kDefaultQuestion = "Describe this image.";

class Scheduler;

/// Stands for a conversation whose prompt a scheduler keeps prefilled for the next turn. What is kept belongs
/// to the scheduler and to its budget: it is dropped, to be prefilled again, when somebody waits for the
/// memory, and when nobody holds the PromptCache any more. So that may be let go at any time, also while
/// requests with it run; each scheduler that it is used with keeps a prompt of its own.
class PromptCache {
 public:
  PromptCache() = default;
  PromptCache(const PromptCache&) = delete;
};

/// Reads and looks at images when their request comes near its turn.
using Looker = std::function<Result<std::vector<ImageFeatures>>()>;

struct AnswerRequest {
  std::vector<Turn> turns;            // the last one's answer is wanted
  std::vector<ImageFeatures> images;  // of all turns, in order …
  Looker look;                        // … or, when this is set, what it returns
  Sampling sampling{.guidance = 1, .temperature = 0};
  uint64_t seed = 0;
  int64_t max_tokens = kDefaultMaxTokens;  // the model's context may end an answer earlier
  /// If set, no token is drawn: the answer is how probable this text is as its beginning.
  std::optional<std::string> scored_text;
  /// If set, whole chunks of this request's prompt that agree with the conversation's last one are taken from
  /// that, and this one is kept in its place.
  std::shared_ptr<PromptCache> cache;
};

struct Answer {
  int64_t id = 0;                                  // the request's
  std::vector<int32_t> tokens;                     // without EOS
  std::string text;                                // stripped
  bool complete = false;                           // ended by EOS, not by a limit
  int64_t prompt_tokens = 0;                       // image features included
  double prefill_seconds = 0, decode_seconds = 0;  // decoding in company, from the prefill's end
  double log_probability = 0;                      // of the request's scored_text
};

/// More text of the request `id`, in whole characters.
using TextCallback = std::function<void(int64_t id, const std::string& text)>;

/// Refuses a conversation that leaves no room for an answer; an error (kUsage) names the numbers.
Status CheckContext(Janus& janus, std::span<const Turn> turns);
Status CheckContext(Janus& janus, const Conversation& prompt);

/// Refuses another number of images than the conversation asks about (kUsage), with both.
Status CheckImages(const Conversation& prompt, size_t images);

/// Where a conversation's images stand in it, as many as CheckImages wants.
std::vector<PromptImage> PlaceImages(const Conversation& prompt, std::span<const ImageFeatures> images);

/// Answers one request and waits. `on_text` is called on the calling thread with the text as it comes, and
/// some ten times a second with "" while none does; when it returns false the answer ends there, with an
/// error (Scheduler::IsCancelled).
Result<Answer> AnswerOne(Scheduler& scheduler, AnswerRequest request,
                         const std::function<bool(const std::string& more)>& on_text);

/// Logits [vocabulary] of the answer's first token. Errors: CheckContext's, CheckImages'.
Result<std::vector<float>> FirstTokenLogits(Janus& janus, const AnswerRequest& request);

}  // namespace bifrons
