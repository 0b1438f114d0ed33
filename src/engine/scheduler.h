// The engine's loop: requests become rows of one ragged batch, which they join and leave between steps.
//
// One thread runs the steps: a chunk of prompts (prefill), then one token for every live row. A second one
// works on whole images: it looks at those that requests ask about and decodes the VQ codes of finished
// pictures, while the steps go on; both deal their work to the model's thread pool by turns.
//
// A request's tokens, text and pixels depend on the request alone: not on company, order, threads or memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "src/base/result.h"
#include "src/engine/answer.h"
#include "src/engine/draw.h"
#include "src/model/janus.h"

namespace bifrons {

/// Above these the products are compute-bound, and more at once only cost memory and latency.
constexpr int64_t kDefaultPictures = 16, kDefaultAnswers = 16;

struct SchedulerOptions {
  /// Bytes for keys, values and rows' buffers, beside the weights; 0 = what this process may still take, less
  /// what else it will need (budget.h).
  size_t memory = 0;
  /// Requests that run at once, at most: a picture has two rows in a step, an answer one. Fewer where memory
  /// is short; Scheduler::options() says how many.
  int64_t pictures = kDefaultPictures, answers = kDefaultAnswers;
  /// Called after every step, on the scheduler's thread; may be empty. Must not throw.
  std::function<void()> on_step = {};
};

/// What the scheduler did since it was made, for `-v`, render and bench.
struct SchedulerStats {
  double prefill_seconds = 0, decode_seconds = 0, vq_seconds = 0, vision_seconds = 0;
  int64_t prompt_tokens = 0;  // prefilled; shared prefixes count once
  int64_t steps = 0;          // forward passes over live rows
  int64_t rows = 0;           // of all steps
  int64_t image_tokens = 0, text_tokens = 0;
  int64_t pictures = 0, answers = 0;                               // finished; every candidate is a picture
  size_t bytes_read = 0;                                           // weights and caches read by the steps
  int64_t largest_step = 0;                                        // rows
  size_t cache_bytes = 0, most_cache_bytes = 0, cache_budget = 0;  // in use now, at most so far, and allowed

  /// Of all steps.
  double rows_per_step() const {
    return steps > 0 ? static_cast<double>(rows) / static_cast<double>(steps) : 0;
  }
};

/// Told about a picture. Handlers run on the scheduler's threads, those of one request one at a time; they
/// may submit and cancel, and must not wait for the scheduler. on_done is called exactly once, last. A
/// request fails when its other handlers throw; what on_done throws is dropped.
struct DrawHandlers {
  /// So many are there, of all candidates together, one more each time; may be empty.
  std::function<void(int64_t tokens)> on_tokens;
  std::function<void(Result<DrawnPicture>)> on_done;
  /// The codes so far of one candidate, row by row, some steps after they were drawn; the last ones come with
  /// the picture. May be empty.
  std::function<void(int candidate, std::span<const int32_t> codes)> on_codes = {};
};

/// The same about an answer.
struct AnswerHandlers {
  std::function<void(const std::string& more)> on_text;  // in whole characters; may be empty
  std::function<void(Result<Answer>)> on_done;
};

class Scheduler {
 public:
  using Id = int64_t;
  static constexpr Id kNoId = -1;

  /// `janus` must outlive the scheduler, and nobody else may use it meanwhile but through RunBetweenSteps.
  Scheduler(Janus& janus, const SchedulerOptions& options);
  /// Cancels what is left and waits for the threads.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;

  /// Queues a request. Errors (kUsage): one that could never run, with the numbers: its prompt exceeds the
  /// model's positions, or its cache the memory; it has another number of images than its turns say;
  /// CheckBestOf's; or the model's half for it was not loaded. What was accepted waits for its share of the
  /// memory. Where the system has less than that, the request that asked for it fails (kFailure), or the
  /// youngest where all did, and the others go on.
  ///
  /// A picture of several candidates is one request: as many run at once as there is room for, each is judged
  /// between the steps of the others, only the best so far is kept, and the first failure ends all.
  Result<Id> Submit(DrawRequest request, DrawHandlers handlers);
  Result<Id> Submit(AnswerRequest request, AnswerHandlers handlers);

  /// The request leaves before the next step; its on_done gets an error (IsCancelled). Unknown and finished
  /// ids are ignored.
  void Cancel(Id id);
  static bool IsCancelled(const Error& error) { return error.message == kCancelled; }
  static constexpr const char* kCancelled = "cancelled";

  /// Waits until no request is left.
  void WaitUntilIdle();

  /// Runs `use` on the scheduler's thread between two steps and waits for it: for uses of the model that are
  /// no requests. Not for handlers.
  void RunBetweenSteps(const std::function<void()>& use);

  SchedulerStats stats() const;
  const SchedulerOptions& options() const;
  /// Of every picture.
  int64_t image_tokens() const;

 private:
  struct Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace bifrons
