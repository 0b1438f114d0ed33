#include "src/bifrons_requests.h"

#include <atomic>
#include <vector>

#include "src/base/out_of_memory.h"

namespace bifrons {

EngineError ToEngineError(Error error) {
  using Kind = EngineError::Kind;
  const Kind kind = Scheduler::IsCancelled(error)       ? Kind::kCancelled
                    : error.kind == ErrorKind::kUsage   ? Kind::kUsage
                    : error.kind == ErrorKind::kBadData ? Kind::kBadData
                                                        : Kind::kFailure;
  return {kind, std::move(error.message), std::move(error.field)};
}

DrawRequest DrawingTask::RequestOf(int image) const {
  DrawRequest one = request;
  one.seed += static_cast<uint64_t>(image) * static_cast<uint64_t>(request.best_of);
  return one;
}

Result<Picture> DrawingTask::ToPicture(DrawnPicture drawn) const {
  PictureSettings its = settings;
  BIFRONS_TRY(its.model_hash, model->Hash());
  its.prompt = request.prompt, its.seed = drawn.seed, its.sampling = request.sampling;
  its.choice = std::move(drawn.choice);
  const std::string parameters = FormatParameters(its);
  return Picture{static_cast<int>(its.width),
                 static_cast<int>(its.height),
                 std::move(drawn.image.rgb),
                 std::move(drawn.codes),
                 parameters,
                 its.seed,
                 std::move(its.choice.scores)};
}

struct Requests::Drawing : Entry {
  DrawingTask task;
  DrawCallbacks callbacks;
  int next = 0;  // picture to be submitted
  std::atomic<int> done{0};
  std::atomic<int64_t> tokens{0};
  void TellEnd() override {
    const DrawCallbacks last = std::move(callbacks);  // what they hold goes before anybody is told
    if (last.on_end) last.on_end(error ? &*error : nullptr);
  }
};

struct Requests::Question : Entry {
  AskCallbacks callbacks;
  std::string text;
  void TellEnd() override {
    const AskCallbacks last = std::move(callbacks);
    if (last.on_end) last.on_end(error ? &*error : nullptr, text);
  }
};

Requests::~Requests() {
  std::vector<RequestId> left;
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    for (const auto& [id, entry] : entries_) left.push_back(id);
  }
  for (const RequestId id : left) Cancel(id);
  WaitForAll();
}

Status Requests::Enter(const std::shared_ptr<Entry>& entry) {
  const std::lock_guard lock(mutex_);
  if (ending_) return Failure(Scheduler::kCancelled);
  entry->id = next_;
  entries_.emplace(next_, entry);
  next_++;
  return {};
}

void Requests::Leave(Entry& entry) {
  const std::lock_guard lock(mutex_);
  entries_.erase(entry.id);
  ended_.notify_all();  // under the mutex: who waits for the last one may be this object's end
}

void Requests::Stop(Entry& entry, EngineError error) noexcept {
  if (entry.error) return;
  entry.error = std::move(error);
  for (const auto& [number, id] : entry.parts) scheduler_.Cancel(id);
}

void Requests::End(Entry& entry) noexcept {
  const Status told = Guarded([&]() -> Status {
    const std::lock_guard calls(entry.calls);
    entry.TellEnd();
    return {};
  });
  static_cast<void>(told);  // there is nobody else to tell
  Leave(entry);
}

void Requests::Cancel(RequestId id) {
  std::shared_ptr<Entry> entry;
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(id);
    if (found == entries_.end()) return;
    entry = found->second;
  }
  const std::lock_guard lock(entry->mutex);
  Stop(*entry, {EngineError::Kind::kCancelled, Scheduler::kCancelled, ""});
}

void Requests::Wait(RequestId id) {
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [&] { return !entries_.contains(id); });
}

void Requests::WaitForAll() {
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [&] { return entries_.empty(); });
}

// ---- pictures

Result<RequestId> Requests::Submit(DrawingTask task, DrawCallbacks callbacks) {
  const auto drawing = std::make_shared<Drawing>();
  drawing->task = std::move(task), drawing->callbacks = std::move(callbacks);
  const std::lock_guard lock(drawing->mutex);
  BIFRONS_RETURN_IF_ERROR(Enter(drawing));
  Feed(drawing);
  if (!drawing->parts.empty()) return drawing->id;
  // The first one was refused, and nobody hears of it again.
  Leave(*drawing);
  const EngineError& error = *drawing->error;
  const bool usage = error.kind == EngineError::Kind::kUsage;
  return Error{usage ? ErrorKind::kUsage : ErrorKind::kFailure, error.message, error.field};
}

void Requests::Feed(const std::shared_ptr<Drawing>& drawing) {
  const auto ahead = static_cast<size_t>(2 * scheduler_.options().pictures);
  while (!drawing->error && drawing->next < drawing->task.images && drawing->parts.size() < ahead) {
    const int image = drawing->next;
    Status submitted = Guarded([&]() -> Status {
      DrawHandlers handlers;
      if (drawing->callbacks.on_update) {
        handlers.on_tokens = [drawing](int64_t) { drawing->tokens++; };
        handlers.on_codes = [this, drawing, image](int candidate, std::span<const int32_t> codes) {
          Update(*drawing, image, candidate, codes);
        };
      }
      handlers.on_done = [this, drawing, image](Result<DrawnPicture> drawn) {
        Take(drawing, image, std::move(drawn));
      };
      Scheduler::Id& id = drawing->parts[image];
      BIFRONS_TRY(id, scheduler_.Submit(drawing->task.RequestOf(image), std::move(handlers)));
      return {};
    });
    if (submitted.ok()) {
      drawing->next++;
    } else {
      drawing->parts.erase(image);
      Stop(*drawing, ToEngineError(std::move(submitted).error()));
    }
  }
}

// Whoever writes a picture meanwhile does not hold up the steps.
void Requests::Update(Drawing& drawing, int image, int candidate, std::span<const int32_t> codes) {
  const std::unique_lock calls(drawing.calls, std::try_to_lock);
  if (!calls) return;
  const DrawingTask& task = drawing.task;
  const double tokens = static_cast<double>(drawing.tokens) / static_cast<double>(scheduler_.image_tokens()) /
                        task.request.best_of;
  drawing.callbacks.on_update({.id = drawing.id,
                               .share = (0.9 * tokens + 0.1 * drawing.done) / task.images,
                               .image = image,
                               .candidate = candidate,
                               .codes = codes});
}

void Requests::Take(const std::shared_ptr<Drawing>& drawing, int image, Result<DrawnPicture> drawn) noexcept {
  Status status = Guarded([&]() -> Status {
    if (!drawn.ok()) return std::move(drawn).error();
    const std::lock_guard calls(drawing->calls);
    if (!drawing->callbacks.on_picture) return {};
    BIFRONS_TRY(Picture picture, drawing->task.ToPicture(std::move(*drawn)));
    drawing->callbacks.on_picture(image, std::move(picture));
    return {};
  });
  drawing->done++;
  bool ended = false;
  {
    const std::lock_guard lock(drawing->mutex);
    drawing->parts.erase(image);
    if (!status.ok()) Stop(*drawing, ToEngineError(std::move(status).error()));
    Feed(drawing);
    ended = drawing->parts.empty();
  }
  if (ended) End(*drawing);
}

// ---- questions

Result<RequestId> Requests::Submit(AnswerRequest request, AskCallbacks callbacks) {
  const auto question = std::make_shared<Question>();
  question->callbacks = std::move(callbacks);
  AnswerHandlers handlers;
  handlers.on_text = [question](const std::string& more) {
    const std::lock_guard calls(question->calls);
    question->text += more;
    if (question->callbacks.on_text) question->callbacks.on_text(more);
  };
  handlers.on_done = [this, question](Result<Answer> answer) {
    {
      const std::lock_guard lock(question->mutex);
      question->parts.clear();
      if (!answer.ok()) Stop(*question, ToEngineError(std::move(answer).error()));
    }
    End(*question);
  };
  const std::lock_guard lock(question->mutex);
  BIFRONS_RETURN_IF_ERROR(Enter(question));
  Status submitted = Guarded([&]() -> Status {
    Scheduler::Id& id = question->parts[0];
    BIFRONS_TRY(id, scheduler_.Submit(std::move(request), std::move(handlers)));
    return {};
  });
  if (submitted.ok()) return question->id;
  Leave(*question);
  return std::move(submitted).error();
}

}  // namespace bifrons
