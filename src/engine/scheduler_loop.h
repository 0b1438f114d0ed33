// What stands behind a Scheduler: its queues, its two threads, and what they do between and in the steps.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "src/engine/admission.h"
#include "src/engine/image_worker.h"
#include "src/engine/kept_prompts.h"
#include "src/engine/prefixes.h"
#include "src/engine/row_batch.h"
#include "src/engine/scheduler.h"
#include "src/engine/starting.h"

namespace bifrons {

/// A request that was accepted and is not done. One thread at a time works on it; `cancelled` alone is
/// shared, also with the parts of a request that has some.
struct Open {
  Scheduler::Id id = 0;  // in the order of arrival
  size_t bytes = 0;      // of its caches
  std::shared_ptr<std::atomic<bool>> cancelled = std::make_shared<std::atomic<bool>>(false);
  std::atomic<bool> with_worker{false};  // before its rows: then it leaves there
  virtual ~Open() = default;
  virtual void Fail(Error error) = 0;
};

struct OpenChoice;

/// A picture, or a candidate for one.
struct OpenPicture : Open {
  DrawRequest request;
  DrawingPrompt prompt;
  DrawHandlers handlers;
  std::shared_ptr<OpenChoice> choice;                  // whose candidate it is; null: nobody's
  std::shared_ptr<Prefix> conditional, unconditional;  // from its beginning until it has its codes
  void Fail(Error error) override { handlers.on_done(std::move(error)); }
};

struct OpenAnswer : Open {
  AnswerRequest request;
  Conversation prompt;
  AnswerHandlers handlers;
  int64_t limit = 0;      // tokens of the answer
  size_t kept_bytes = 0;  // of `bytes` until its beginning, for its prompt that is kept; then that one's own
  bool asked_for_looking = false;
  std::atomic<bool> looked{false};  // request.images are there
  Status looking;                   // what came of it
  void Fail(Error error) override { handlers.on_done(std::move(error)); }
};

/// A picture that is the best of several. Its parts are requests of their own: candidates, which come one
/// after another from the head of the queue, so that as many run as there is room for, and for each of them
/// an answer that judges it. They are older than whatever was asked for later.
struct OpenChoice : Open {
  DrawRequest request;
  DrawingPrompt prompt;
  size_t picture_bytes = 0;  // of a candidate's caches
  DrawHandlers handlers;
  int64_t tokens = 0;  // of all candidates; the loop's own
  int begun = 0;       // candidates; the same

  std::mutex mutex;            // of what follows: parts end on both threads
  int unfinished = 0;          // of those that have begun
  std::optional<Error> error;  // the first one's
  DrawnPicture best;           // so far
  std::optional<int> best_number;
  std::vector<float> scores;

  Scheduler::Id candidate_id(int number) const { return id + 1 + number; }
  Scheduler::Id judgement_id(int number) const { return id + 1 + request.best_of + number; }
  /// Of itself and all its parts.
  int64_t ids() const { return 1 + 2 * int64_t{request.best_of}; }
  void Fail(Error reason) override { handlers.on_done(std::move(reason)); }
};

struct Scheduler::Loop {
  Loop(Janus& janus, const SchedulerOptions& options, const Admission::Limits& limits);
  /// Cancels what is left and waits.
  ~Loop();

  // ---- for other threads
  /// Refuses (kUsage) what can never run; `what` it is stands in the message.
  Status CheckFits(size_t bytes, const char* what) const;
  /// Queues a request, which `enter` puts where the loop finds it, under the mutex.
  Result<Id> Accept(const std::shared_ptr<Open>& request, int64_t ids, const std::function<void()>& enter);
  /// The request, and what it will take. Errors: Submit's.
  Result<std::shared_ptr<OpenAnswer>> PlanAnswer(AnswerRequest request) const;
  /// Refuses (kUsage) a prompt by which no picture can be judged.
  Status CheckJudgement(const std::string& prompt) const;
  /// Wakes the loop.
  void Changed();

  // ---- the loop
  // What one request lacks memory for, or a handler of its throws, ends that request; what is nobody's own
  // ends the youngest.
  void Run();
  /// Once round: waits for something to do and does it. False when asked to stop.
  bool TakeTurn();
  void Sweep();
  void Admit();
  bool MakeRoom(std::optional<Head> picture, std::optional<Head> answer);
  void Begin(const std::shared_ptr<OpenPicture>& picture);
  void Begin(const std::shared_ptr<OpenAnswer>& answer);
  std::optional<Head> PictureHead();
  std::optional<Head> AnswerHead();
  void LookAhead();
  /// Looks at an answer's images; on the worker's thread.
  void Look(OpenAnswer& answer) noexcept;
  void PrefillSome();
  /// One token for every row. An error: the step broke off, and is to be repeated with less.
  Status Step();
  void Decode(const std::shared_ptr<OpenPicture>& picture, DrawnCodes codes);
  // A choice's candidates, on whichever thread they are.
  std::shared_ptr<OpenPicture> NextCandidate(const std::shared_ptr<OpenChoice>& choice);
  void Judge(const std::shared_ptr<OpenChoice>& choice, int number, DrawnPicture candidate);
  void Compare(OpenChoice& choice, int number, double log_probability, DrawnPicture& candidate);
  /// A candidate is through, or its part failed; the last one ends the choice.
  void Leave(OpenChoice& choice, Status status) noexcept;
  void RunUses();
  /// The request's memory becomes free; its rows are gone.
  void End(const std::shared_ptr<Open>& request);
  /// Lets `tell` say what the request became, and forgets it. When on_done throws there is nobody else to
  /// tell.
  template <class Tell>
  void Close(const Open& request, const Tell& tell) noexcept {
    try {
      tell();
    } catch (...) {
    }
    Forget(request);
  }
  void Forget(const Open& request);
  void Fail(const std::shared_ptr<Open>& request, Error error) noexcept {
    Close(*request, [&] { request->Fail(std::move(error)); });
  }
  /// Takes a running request's rows and memory and fails it.
  void Break(std::shared_ptr<Open> request, Error error);
  /// The same for want of memory: what is kept and not in use goes too.
  void BreakOff(const std::shared_ptr<Open>& request, Error error);
  /// Ends the request that came last, to make room for the others.
  void FailYoungest(Error error);
  void BreakOffAll(const Error& error);
  void CancelAll();

  Janus& janus;
  const SchedulerOptions options;

  // ---- shared, under `mutex`
  mutable std::mutex mutex;
  std::condition_variable changed, closed;
  bool something_changed = false, stop = false;
  Id next_id = 0;
  std::map<Id, std::shared_ptr<Open>> open;
  std::deque<std::shared_ptr<OpenPicture>> new_pictures;
  std::deque<std::shared_ptr<OpenAnswer>> new_answers;
  std::deque<std::packaged_task<void()>> uses;
  SchedulerStats stats;

  // ---- the loop's own
  Admission admission;
  std::shared_ptr<KvPool> pool;
  Prefixes prefixes;
  KeptPrompts prompts;
  std::deque<std::shared_ptr<OpenPicture>> pictures;  // waiting, in order
  std::deque<std::shared_ptr<OpenAnswer>> answers;
  std::deque<std::unique_ptr<Starting>> starting;
  RowBatch batch;
  std::map<Id, std::shared_ptr<Open>> running;  // starting or in the batch
  std::atomic<bool> any_cancelled{false};
  std::atomic<int64_t> unjudged{0};  // candidates that are drawn

  std::optional<ImageWorker> worker{std::in_place};
  std::thread thread;
};

}  // namespace bifrons
