#include "src/engine/draw.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "src/base/out_of_memory.h"
#include "src/engine/scheduler.h"

namespace bifrons {

Status CheckPrompt(Janus& janus, const std::string& prompt) {
  return CheckPrompt(janus, janus.EncodePrompt(prompt));
}

Status CheckPrompt(Janus& janus, const DrawingPrompt& prompt) {
  const auto length = static_cast<int64_t>(prompt.conditional.size());
  const int64_t tokens = janus.config().vq.tokens(), limit = janus.config().llama.max_positions;
  if (length + tokens > limit) {
    return UsageError("the prompt is too long: " + std::to_string(length) + " tokens and " +
                          std::to_string(tokens) + " image tokens exceed the model's " +
                          std::to_string(limit) + " positions",
                      "prompt");
  }
  return {};
}

Status CheckBestOf(const Janus& janus, const DrawRequest& request) {
  const int count = request.best_of;
  if (count < 1 || count > kMaxBestOf) {
    return UsageError("best_of is " + std::to_string(count) + "; it must be a whole number from 1 to " +
                          std::to_string(kMaxBestOf),
                      "best_of");
  }
  if (count == 1) return {};
  if (request.seed > static_cast<uint64_t>(kMaxSeed - (count - 1)))
    return UsageError("the last candidate's seed would exceed " + std::to_string(kMaxSeed), "seed");
  if (janus.parts().understanding) return {};
  return UsageError(
      "the best of " + std::to_string(count) +
          " is chosen by the model's understanding half, which was not loaded; load it as well, "
          "or ask for one candidate",
      "best_of");
}

namespace {

// Requests go to the scheduler some way ahead of the pictures that come back.
class List {
 public:
  List(Scheduler& scheduler, std::span<const DrawRequest> requests)
      : scheduler_(scheduler), requests_(requests) {
    const auto count = static_cast<int64_t>(requests.size());
    so_far_.all_pictures = count;
    for (const DrawRequest& request : requests) so_far_.all_tokens += TokensOf(request);
  }
  // However the drawing ends, nobody calls back afterwards.
  ~List() {
    for (const Scheduler::Id id : ids_) scheduler_.Cancel(id);
    std::unique_lock lock(mutex_);
    news_.wait(lock, [&] { return open_ == 0; });
  }
  List(const List&) = delete;

  Status Run(const DrawCallback& progress, const std::function<Status(size_t, DrawnPicture)>& take,
             std::chrono::seconds finishing) {
    using Clock = std::chrono::steady_clock;
    const auto ahead = static_cast<size_t>(2 * scheduler_.options().pictures);
    std::optional<Clock::time_point> deadline;  // once it was stopped
    std::set<size_t> complete;                  // by then
    for (size_t next = 0; next < requests_.size(); next++) {
      while (!deadline && ids_.size() < std::min(requests_.size(), next + ahead))
        BIFRONS_RETURN_IF_ERROR(Submit(ids_.size()));
      for (bool taken = false; !taken;) {
        std::unique_lock lock(mutex_);
        news_.wait_for(lock, std::chrono::milliseconds(100), [&] { return any_news_ || IsDone(next); });
        any_news_ = false;
        so_far_.complete = static_cast<int64_t>(complete_.size());
        const DrawProgress so_far = so_far_;
        if (!deadline) complete = complete_;
        std::optional<Result<DrawnPicture>> done;
        if (IsDone(next)) {
          done = std::move(done_.extract(next).mapped());
          complete_.erase(next);
        }
        lock.unlock();
        if (!deadline && progress && !progress(so_far)) {
          deadline = Clock::now() + finishing;
          for (size_t i = next; i < ids_.size(); i++)
            if (!complete.contains(i)) scheduler_.Cancel(ids_[i]);
        }
        if (deadline && (!complete.contains(next) || Clock::now() >= *deadline))
          return Failure("interrupted; nothing was written for the unfinished pictures");
        if (!done) continue;
        if (!done->ok()) return done->error();
        BIFRONS_RETURN_IF_ERROR(take(next, std::move(**done)));
        taken = true;
      }
    }
    return {};
  }

 private:
  Status Submit(size_t i) {
    DrawHandlers handlers;
    handlers.on_tokens = [this, i, all = TokensOf(requests_[i])](int64_t tokens) {
      const std::lock_guard lock(mutex_);
      so_far_.tokens++;
      if (tokens == all) complete_.insert(i);
      Tell();
    };
    handlers.on_done = [this, i](Result<DrawnPicture> picture) {
      const std::lock_guard lock(mutex_);
      so_far_.pictures++;
      done_.at(i).emplace(std::move(picture));
      open_--;
      Tell();
    };
    ids_.push_back(Scheduler::kNoId);
    {
      const std::lock_guard lock(mutex_);
      done_.emplace(i, std::nullopt);  // now: on_done has nobody to tell that it lacks memory
      open_++;
    }
    auto id = Guarded([&] { return scheduler_.Submit(requests_[i], std::move(handlers)); });
    if (id.ok()) {
      ids_.back() = *id;
      return {};
    }
    const std::lock_guard lock(mutex_);
    open_--;
    return std::move(id).error();
  }
  int64_t TokensOf(const DrawRequest& request) const { return request.best_of * scheduler_.image_tokens(); }
  bool IsDone(size_t i) const {
    const auto found = done_.find(i);
    return found != done_.end() && found->second;
  }
  void Tell() {
    any_news_ = true;
    news_.notify_all();
  }

  Scheduler& scheduler_;
  std::span<const DrawRequest> requests_;
  std::vector<Scheduler::Id> ids_;  // of those that were submitted

  std::mutex mutex_;  // for what follows
  std::condition_variable news_;
  bool any_news_ = false;
  DrawProgress so_far_;
  int64_t open_ = 0;
  std::set<size_t> complete_;  // whose tokens are all there, and not taken yet
  // Of those that were submitted and are not taken yet.
  std::map<size_t, std::optional<Result<DrawnPicture>>> done_;
};

}  // namespace

Status DrawEach(Scheduler& scheduler, std::span<const DrawRequest> requests, const DrawCallback& progress,
                const std::function<Status(size_t, DrawnPicture)>& take, int finishing_seconds) {
  return List(scheduler, requests).Run(progress, take, std::chrono::seconds(finishing_seconds));
}

Result<std::vector<DrawnPicture>> Draw(Scheduler& scheduler, std::span<const DrawRequest> requests,
                                       const DrawCallback& progress) {
  std::vector<DrawnPicture> pictures;
  BIFRONS_RETURN_IF_ERROR(
      DrawEach(scheduler, requests, progress, [&](size_t, DrawnPicture picture) -> Status {
        pictures.push_back(std::move(picture));
        return {};
      }));
  return pictures;
}

}  // namespace bifrons
