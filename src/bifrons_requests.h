// What bifrons.h submits: requests with ids and callbacks, over a scheduler's.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "src/bifrons.h"
#include "src/engine/draw.h"
#include "src/engine/metadata.h"
#include "src/engine/scheduler.h"

namespace bifrons {

EngineError ToEngineError(Error error);

/// The pictures of `request`, which is the first one's; `settings` are those of the model.
struct DrawingTask {
  DrawRequest request;
  int images = 1;
  PictureSettings settings;
  WeightSource* model = nullptr;  // whose hash the pictures tell

  /// That of picture `image`.
  DrawRequest RequestOf(int image) const;
  /// Errors: WeightSource::Hash's.
  Result<Picture> ToPicture(DrawnPicture drawn) const;
};

class Requests {
 public:
  explicit Requests(Scheduler& scheduler) : scheduler_(scheduler) {}
  /// Cancels what is left and waits for its end.
  ~Requests();

  /// Errors: Scheduler::Submit's; kFailure with Scheduler::kCancelled once the end has begun.
  Result<RequestId> Submit(DrawingTask task, DrawCallbacks callbacks);
  Result<RequestId> Submit(AnswerRequest request, AskCallbacks callbacks);
  void Cancel(RequestId id);
  void Wait(RequestId id);
  void WaitForAll();

 private:
  /// What is with the scheduler for it. `calls` is held during callbacks, `mutex` while the rest is looked
  /// at; who has both took `calls` first.
  struct Entry {
    RequestId id = kNoRequest;
    std::mutex calls, mutex;
    std::map<int, Scheduler::Id> parts;  // by number; those that have not ended
    std::optional<EngineError> error;    // the first one's
    virtual ~Entry() = default;
    virtual void TellEnd() = 0;
  };
  struct Drawing;
  struct Question;

  Status Enter(const std::shared_ptr<Entry>& entry);
  void Leave(Entry& entry);
  /// Submits pictures some way ahead of those that come back; under its mutex.
  void Feed(const std::shared_ptr<Drawing>& drawing);
  void Update(Drawing& drawing, int image, int candidate, std::span<const int32_t> codes);
  void Take(const std::shared_ptr<Drawing>& drawing, int image, Result<DrawnPicture> drawn) noexcept;
  /// The request comes to an error; under its mutex.
  void Stop(Entry& entry, EngineError error) noexcept;
  void End(Entry& entry) noexcept;

  Scheduler& scheduler_;
  std::mutex mutex_;
  std::condition_variable ended_;
  std::map<RequestId, std::shared_ptr<Entry>> entries_;
  RequestId next_ = 1;
  bool ending_ = false;
};

}  // namespace bifrons
