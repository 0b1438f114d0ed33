#include "src/engine/scheduler_loop.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "src/base/out_of_memory.h"
#include "src/base/seconds_since.h"
#include "src/model/memory_plan.h"

namespace bifrons {
namespace {

using Clock = std::chrono::steady_clock;

// As the memory allows.
SchedulerOptions WithLimits(SchedulerOptions options, const Admission::Limits& limits) {
  options.pictures = limits.pictures, options.answers = limits.answers;
  return options;
}

std::string Megabytes(size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

}  // namespace

Scheduler::Loop::Loop(Janus& the_janus, const SchedulerOptions& the_options, const Admission::Limits& limits)
    : janus(the_janus),
      options(WithLimits(the_options, limits)),
      admission(limits),
      pool(the_janus.MakeKvPool()),
      prefixes(the_janus, pool),
      batch(the_janus, options.pictures) {
  stats.cache_budget = limits.bytes;
  thread = std::thread([this] { Run(); });
}

Scheduler::Loop::~Loop() {
  {
    const std::lock_guard lock(mutex);
    stop = true;
    for (auto& [id, request] : open) *request->cancelled = true;
  }
  changed.notify_all();
  thread.join();
  worker.reset();
}

void Scheduler::Loop::Changed() {
  {
    const std::lock_guard lock(mutex);
    something_changed = true;
  }
  changed.notify_all();
}

Status Scheduler::Loop::CheckFits(size_t bytes, const char* what) const {
  const size_t all = admission.limits().bytes;
  if (admission.CanEver(bytes)) return {};
  return UsageError(std::string(what) + " needs " + Megabytes(bytes) +
                    " for its keys and values, and the memory for them is " + Megabytes(all) +
                    " in all; give more memory, or ask for less");
}

Result<Scheduler::Id> Scheduler::Loop::Accept(const std::shared_ptr<Open>& request, int64_t ids,
                                              const std::function<void()>& enter) {
  return Guarded([&]() -> Result<Id> {
    {
      const std::lock_guard lock(mutex);
      if (stop) return Failure(kCancelled);
      request->id = next_id;
      const auto accepted = open.emplace(request->id, request).first;
      try {
        enter();
      } catch (...) {
        open.erase(accepted);
        throw;
      }
      next_id += ids;
      something_changed = true;
    }
    changed.notify_all();
    return request->id;
  });
}

void Scheduler::Loop::Forget(const Open& request) {
  {
    const std::lock_guard lock(mutex);
    open.erase(request.id);
    something_changed = true;
  }
  changed.notify_all();
  closed.notify_all();
}

void Scheduler::Loop::End(const std::shared_ptr<Open>& request) {
  running.erase(request->id);
  if (auto picture = std::dynamic_pointer_cast<OpenPicture>(request)) {
    picture->conditional = picture->unconditional = nullptr;
    admission.End(RequestKind::kPicture, request->bytes);
  } else {
    admission.End(RequestKind::kAnswer, request->bytes);
  }
}

void Scheduler::Loop::Break(std::shared_ptr<Open> request, Error error) {
  std::erase_if(starting, [&](const auto& s) { return s->id() == request->id; });
  batch.Remove(request->id);
  End(request);
  Fail(request, std::move(error));
}

void Scheduler::Loop::BreakOff(const std::shared_ptr<Open>& request, Error error) {
  Break(request, std::move(error));
  while (const size_t freed = prefixes.DropOne(nullptr)) admission.Return(freed);
  while (const size_t freed = prompts.DropOne(nullptr)) admission.Return(freed);
}

void Scheduler::Loop::FailYoungest(Error error) {
  if (!running.empty()) return BreakOff(running.rbegin()->second, std::move(error));
  std::shared_ptr<Open> youngest;
  const auto take_from = [&](auto& queue) {
    if (youngest || queue.empty() || queue.back()->with_worker) return;
    youngest = queue.back();
    queue.pop_back();
  };
  take_from(pictures), take_from(answers);
  {
    const std::lock_guard lock(mutex);
    take_from(new_pictures), take_from(new_answers);
  }
  if (youngest) Fail(youngest, std::move(error));
}

void Scheduler::Loop::Run() {
  for (bool goes_on = true; goes_on;) {
    Status turn = Guarded([&]() -> Status {
      goes_on = TakeTurn();
      return {};
    });
    if (!turn.ok()) FailYoungest(std::move(turn).error());
  }
  CancelAll();
  RunUses();
}

bool Scheduler::Loop::TakeTurn() {
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return stop || something_changed || !batch.empty() || !starting.empty(); });
    something_changed = false;
    if (stop) return false;
    // By age: what judges an older picture comes before what was asked for meanwhile.
    const auto take_in = [](auto& from, auto& to) {
      const auto older = [](const auto& a, const auto& b) { return a->id < b->id; };
      for (; !from.empty(); from.pop_front())
        to.insert(std::upper_bound(to.begin(), to.end(), from.front(), older), from.front());
    };
    take_in(new_pictures, pictures), take_in(new_answers, answers);
  }
  RunUses();
  if (any_cancelled.exchange(false)) Sweep();
  LookAhead();
  Admit();
  PrefillSome();
  if (batch.empty()) return true;
  // Whoever came last makes room until the step of the others goes through.
  for (Status step; !(step = Step()).ok();) FailYoungest(std::move(step).error());
  if (options.on_step) options.on_step();
  return true;
}

// Takes out whoever was cancelled and is with the loop; who is with the worker leaves there.
void Scheduler::Loop::Sweep() {
  const auto sweep = [&](auto& queue) {
    for (auto it = queue.begin(); it != queue.end();) {
      const auto request = *it;
      if (!*request->cancelled || request->with_worker) {
        ++it;
        continue;
      }
      it = queue.erase(it);
      Fail(request, Failure(kCancelled));
    }
  };
  sweep(pictures);
  sweep(answers);
  for (auto it = running.begin(); it != running.end();) {
    const auto request = it++->second;
    if (*request->cancelled) Break(request, Failure(kCancelled));
  }
}

// Has the images of the next answers looked at: kImagesAhead of them, or those of the next answer alone.
void Scheduler::Loop::LookAhead() {
  size_t images = 0;
  for (const auto& answer : answers) {
    // One without images costs nothing, but what is looked at for it may be anything.
    images += std::max<size_t>(1, answer->prompt.image_starts.size());
    if (images > static_cast<size_t>(kImagesAhead) && answer != answers.front()) break;
    if (answer->asked_for_looking) continue;
    answer->asked_for_looking = true;
    if (!answer->request.look) {
      answer->looked = true;
      continue;
    }
    answer->with_worker = true;
    Status posted = Guarded([&]() -> Status {
      worker->Post(ImageWorker::Work::kLook, [this, answer] { Look(*answer); });
      return {};
    });
    if (posted.ok()) continue;
    answer->looking = std::move(posted);
    answer->looked = true;
    answer->with_worker = false;
  }
}

// Waits for what it looked at, so that want of memory for it is this request's failure alone.
void Scheduler::Loop::Look(OpenAnswer& answer) noexcept {
  const auto clock = Clock::now();
  answer.looking = Guarded([&]() -> Status {
    if (*answer.cancelled) return Failure(kCancelled);
    BIFRONS_TRY(auto images, answer.request.look());
    BIFRONS_RETURN_IF_ERROR(CheckImages(answer.prompt, images.size()));
    for (const ImageFeatures& image : images) janus.images().Wait(image->ready);
    answer.request.images = std::move(images);
    return {};
  });
  answer.request.look = nullptr;
  {
    const std::lock_guard lock(mutex);
    stats.vision_seconds += SecondsSince(clock);
  }
  answer.looked = true;
  answer.with_worker = false;
  if (*answer.cancelled) any_cancelled = true;
  Changed();
}

// One chunk's worth of tokens between two steps: short prompts together, long ones piece by piece, so that
// nobody in the batch waits for a prompt.
void Scheduler::Loop::PrefillSome() {
  if (starting.empty()) return;
  const auto clock = Clock::now();
  int64_t tokens = 0;
  while (!starting.empty() && tokens < kPrefillChunk) {
    Starting& first = *starting.front();
    const Id id = first.id();
    Status advanced = Guarded([&]() -> Status {
      if (!first.complete()) tokens += first.Advance(janus);
      if (!first.complete()) return {};
      first.Join(janus, batch);
      starting.pop_front();
      return {};
    });
    if (!advanced.ok()) BreakOff(running.at(id), std::move(advanced).error());
  }
  const std::lock_guard lock(mutex);
  stats.prompt_tokens += tokens;
  stats.prefill_seconds += SecondsSince(clock);
}

Status Scheduler::Loop::Step() {
  const auto clock = Clock::now();
  StepResult step = batch.Step([this](int64_t id, const std::string& more) {
    const auto& answer = static_cast<const OpenAnswer&>(*running.at(id));
    if (answer.handlers.on_text && !*answer.cancelled) answer.handlers.on_text(more);
  });
  {
    const std::lock_guard lock(mutex);
    stats.decode_seconds += SecondsSince(clock);
    stats.steps += step.rows > 0 ? 1 : 0;
    stats.rows += step.rows;
    stats.largest_step = std::max(stats.largest_step, step.rows);
    stats.image_tokens += step.image_tokens, stats.text_tokens += step.text_tokens;
    stats.bytes_read += step.bytes_read;
  }
  if (step.lost) {
    BreakOffAll(step.status.error());
    return {};
  }
  if (!step.status.ok()) return std::move(step.status);
  const auto tell = [&](int64_t id, int64_t tokens, std::span<const int32_t> codes) {
    const auto& picture = static_cast<const OpenPicture&>(*running.at(id));
    const DrawHandlers& handlers = picture.handlers;
    return Guarded([&]() -> Status {
      if (handlers.on_tokens && !*picture.cancelled) handlers.on_tokens(tokens);
      if (handlers.on_codes && !*picture.cancelled && !codes.empty()) handlers.on_codes(0, codes);
      return {};
    });
  };
  for (FailedRows& failed : step.failed) Break(running.at(failed.id), std::move(failed.error));
  for (size_t i = 0; i < batch.pictures().size();) {
    const PictureRows& rows = *batch.pictures()[i];
    const Id id = rows.id;
    Status told = tell(id, rows.tokens, rows.codes);
    if (told.ok()) {
      i++;
    } else {
      Break(running.at(id), std::move(told).error());  // its rows leave
    }
  }
  for (DrawnCodes& drawn : step.pictures) {
    const auto picture = std::static_pointer_cast<OpenPicture>(running.at(drawn.id));
    Status told = tell(drawn.id, janus.config().vq.tokens(), {});
    End(picture);
    // With nobody waiting for it, the memory of its keys and values is better used for its maps.
    if (batch.empty() && starting.empty() && pictures.empty() && answers.empty())
      pool->DiscardFree(janus.steps());
    if (told.ok()) {
      Decode(picture, std::move(drawn));
    } else {
      Fail(picture, std::move(told).error());
    }
  }
  for (Answer& answer : step.answers) {
    auto request = std::static_pointer_cast<OpenAnswer>(running.at(answer.id));
    End(request);
    if (!request->request.scored_text) {
      const std::lock_guard lock(mutex);
      stats.answers++;
    }
    Close(*request, [&] { request->handlers.on_done(std::move(answer)); });
  }
  return {};
}

void Scheduler::Loop::Decode(const std::shared_ptr<OpenPicture>& picture, DrawnCodes codes) {
  Status posted = Guarded([&]() -> Status {
    const auto drawn = std::make_shared<const DrawnCodes>(std::move(codes));
    worker->Post(ImageWorker::Work::kDecode, [this, picture, drawn] {
      if (*picture->cancelled) return Fail(picture, Failure(kCancelled));
      const auto clock = Clock::now();
      auto decoded = Guarded([&] { return DecodeDrawn(janus, *drawn); });
      {
        const std::lock_guard lock(mutex);
        stats.vq_seconds += SecondsSince(clock);
        stats.pictures++;
      }
      if (!decoded.ok()) return Fail(picture, std::move(decoded).error());
      decoded->seed = picture->request.seed;
      Close(*picture, [&] { picture->handlers.on_done(std::move(*decoded)); });
    });
    return {};
  });
  if (!posted.ok()) Fail(picture, std::move(posted).error());
}

void Scheduler::Loop::RunUses() {
  for (;;) {
    std::packaged_task<void()> use;
    {
      const std::lock_guard lock(mutex);
      if (uses.empty()) return;
      use = std::move(uses.front());
      uses.pop_front();
    }
    std::unique_lock<std::mutex> busy;
    if (worker) busy = std::unique_lock(worker->busy());
    use();
  }
}

void Scheduler::Loop::BreakOffAll(const Error& error) {
  while (!running.empty()) {
    const auto request = running.begin()->second;
    Status own = Guarded([&]() -> Status { return error; });
    BreakOff(request, std::move(own).error());
  }
}

void Scheduler::Loop::CancelAll() {
  while (!running.empty()) Break(running.begin()->second, Failure(kCancelled));
  worker.reset();  // looking still works on some of the answers
  const auto cancel = [&](auto& queue) {
    while (!queue.empty()) {
      const auto request = queue.front();
      queue.pop_front();
      Fail(request, Failure(kCancelled));
    }
  };
  cancel(pictures), cancel(answers);
  // Nobody adds to these any more.
  cancel(new_pictures), cancel(new_answers);
}

}  // namespace bifrons
