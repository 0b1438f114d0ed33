#include "src/engine/scheduler_loop.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <new>

#include "src/model/memory_plan.h"

namespace bifrons {
namespace {

using Clock = std::chrono::steady_clock;
double Seconds(Clock::time_point since) {
  return std::chrono::duration<double>(Clock::now() - since).count();
}

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

template <class T>
Result<T> GuardMemory(const std::function<Result<T>()>& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return Failure("out of memory");
  }
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
    for (auto& [id, request] : open) request->cancelled = true;
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

Result<Scheduler::Id> Scheduler::Loop::Accept(std::shared_ptr<Open> request, const char* what) {
  if (!admission.CanEver(request->bytes)) {
    return UsageError(std::string(what) + " needs " + Megabytes(request->bytes) +
                      " for its keys and values, and the memory for them is " +
                      Megabytes(admission.limits().bytes) + " in all; give more memory, or ask for less");
  }
  {
    const std::lock_guard lock(mutex);
    if (broken || stop) return Failure("the engine has stopped after running out of memory");
    request->id = next_id++;
    open.emplace(request->id, request);
    if (auto picture = std::dynamic_pointer_cast<OpenPicture>(request)) {
      new_pictures.push_back(std::move(picture));
    } else {
      new_answers.push_back(std::static_pointer_cast<OpenAnswer>(request));
    }
    something_changed = true;
  }
  changed.notify_all();
  return request->id;
}

void Scheduler::Loop::Close(const std::shared_ptr<Open>& request, const std::function<void()>& tell) {
  tell();
  {
    const std::lock_guard lock(mutex);
    open.erase(request->id);
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

void Scheduler::Loop::Run() {
  try {
    for (;;) {
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return stop || something_changed || !batch.empty() || !starting.empty(); });
        something_changed = false;
        pictures.insert(pictures.end(), new_pictures.begin(), new_pictures.end());
        answers.insert(answers.end(), new_answers.begin(), new_answers.end());
        new_pictures.clear(), new_answers.clear();
        if (stop) break;
      }
      RunUses();
      if (any_cancelled.exchange(false)) Sweep();
      LookAhead();
      Admit();
      PrefillSome();
      if (batch.empty()) continue;
      Step();
      if (options.on_step) options.on_step();
    }
    FailAll(Failure(kCancelled));
  } catch (const std::bad_alloc&) {
    {
      const std::lock_guard lock(mutex);
      broken = true;
    }
    FailAll(Failure("out of memory"));
    // Whoever uses the model between steps is still served.
    for (std::unique_lock lock(mutex); !stop;) {
      changed.wait(lock, [&] { return stop || !uses.empty(); });
      lock.unlock();
      RunUses();
      lock.lock();
    }
  }
  RunUses();
}

// Takes out whoever was cancelled and is with the loop; who is with the worker leaves there.
void Scheduler::Loop::Sweep() {
  const auto sweep = [&](auto& queue) {
    for (auto it = queue.begin(); it != queue.end();) {
      const auto request = *it;
      const bool with_worker = [&] {
        if constexpr (std::is_same_v<std::decay_t<decltype(*request)>, OpenAnswer>)
          return request->asked_for_looking && !request->looked;
        return false;
      }();
      if (!request->cancelled || with_worker) {
        ++it;
        continue;
      }
      it = queue.erase(it);
      Fail(request, Failure(kCancelled));
    }
  };
  sweep(pictures);
  sweep(answers);
  std::vector<std::shared_ptr<Open>> leaving;
  for (const auto& [id, request] : running) {
    if (request->cancelled) leaving.push_back(request);
  }
  for (const auto& request : leaving) {
    std::erase_if(starting, [&](const auto& s) { return s->id() == request->id; });
    batch.Remove(request->id);
    End(request);
    Fail(request, Failure(kCancelled));
  }
}

// What a waiting picture takes: its rows, and those of its prefixes that are not there yet.
std::optional<Head> Scheduler::Loop::PictureHead() {
  // Pictures that wait to be decoded and written hold little, but there has to be an end.
  if (pictures.empty() || worker->unfinished(ImageWorker::Work::kDecode) >= 2 * options.pictures) return {};
  const OpenPicture& picture = *pictures.front();
  size_t bytes = picture.bytes;
  for (const auto* ids : {&picture.prompt.conditional, &picture.prompt.unconditional}) {
    if (prefixes.Holds(*ids)) bytes -= prefixes.BytesFor(*ids);
  }
  return Head{picture.id, bytes};
}

std::optional<Head> Scheduler::Loop::AnswerHead() {
  if (answers.empty() || !answers.front()->looked) return {};
  const OpenAnswer& answer = *answers.front();
  const size_t there = answer.request.cache
                           ? answer.kept_bytes - prompts.GrowthFor(answer.request.cache, answer.kept_bytes)
                           : 0;
  return Head{answer.id, answer.bytes - there};
}

void Scheduler::Loop::Begin(const std::shared_ptr<OpenPicture>& picture) {
  const auto obtain = [&](const std::vector<int32_t>& ids) {
    const bool there = prefixes.Holds(ids);
    auto prefix = prefixes.Obtain(ids);
    if (!there) admission.Take(prefix->bytes);
    picture->bytes -= prefix->bytes;  // the prefix's own from now on
    return prefix;
  };
  picture->conditional = obtain(picture->prompt.conditional);
  picture->unconditional = obtain(picture->prompt.unconditional);
  admission.Begin(RequestKind::kPicture, picture->bytes);
  running.emplace(picture->id, picture);
  starting.push_back(
      StartPicture(picture->id, picture->request, picture->conditional, picture->unconditional));
}

void Scheduler::Loop::Begin(const std::shared_ptr<OpenAnswer>& answer) {
  std::shared_ptr<KeptPrompt> kept;
  if (const auto& conversation = answer->request.cache) {
    admission.Take(prompts.GrowthFor(conversation, answer->kept_bytes));
    kept = prompts.Obtain(conversation, answer->kept_bytes);
    answer->bytes -= answer->kept_bytes;  // the kept prompt's own from now on
  }
  admission.Begin(RequestKind::kAnswer, answer->bytes);
  running.emplace(answer->id, answer);
  starting.push_back(
      StartAnswer(janus, pool, answer->id, answer->request, answer->prompt, answer->limit, std::move(kept)));
  answer->request.images.clear();
}

// Drops one thing that is kept and not in use, if that is a step towards letting a head begin: not when all
// there is would not suffice, nor when it is a number that is exhausted. What a head would use itself comes
// last, and a picture's prefixes never go for its own sake, as it would need their memory again.
bool Scheduler::Loop::MakeRoom(std::optional<Head> picture, std::optional<Head> answer) {
  struct Spare {
    bool prefixes, prompt;
  };
  for (const auto& [spare_prefixes, spare_prompt] :
       {Spare{true, true}, Spare{true, false}, Spare{false, true}, Spare{false, false}}) {
    const DrawingPrompt* prefix = spare_prefixes && picture ? &pictures.front()->prompt : nullptr;
    const KeptPrompts::Key prompt = spare_prompt && answer ? answers.front()->request.cache : nullptr;
    if (picture && !spare_prefixes) picture->bytes = pictures.front()->bytes;
    if (answer && !spare_prompt) answer->bytes = answers.front()->bytes;
    Admission after = admission;
    after.Return(prefixes.IdleBytes(prefix) + prompts.IdleBytes(prompt));
    const auto kind = after.Next(picture, answer);
    if (!kind || (kind == RequestKind::kPicture && !spare_prefixes)) continue;
    size_t freed = prefixes.DropOne(prefix);
    if (freed == 0) freed = prompts.DropOne(prompt);
    admission.Return(freed);
    return freed > 0;
  }
  return false;
}

void Scheduler::Loop::Admit() {
  // Beyond these, prefixes that nobody uses go even while there is memory.
  constexpr int64_t kKeptPrefixes = 64;
  admission.Return(prompts.DropAbandoned());
  for (;;) {
    // An image that could not be read makes room for the next request.
    while (!answers.empty() && answers.front()->looked &&
           (!answers.front()->looking.ok() || answers.front()->cancelled)) {
      const auto answer = answers.front();
      answers.pop_front();
      Fail(answer, answer->cancelled ? Failure(kCancelled) : answer->looking.error());
      LookAhead();
    }
    const auto picture = PictureHead(), answer = AnswerHead();
    const auto kind = admission.Next(picture, answer);
    if (kind == RequestKind::kPicture) {
      Begin(pictures.front());
      pictures.pop_front();
    } else if (kind == RequestKind::kAnswer) {
      Begin(answers.front());
      answers.pop_front();
      LookAhead();
    } else if (!MakeRoom(picture, answer)) {
      break;
    }
  }
  while (prefixes.size() > kKeptPrefixes) {
    const size_t freed = prefixes.DropOne(nullptr);
    if (freed == 0) break;
    admission.Return(freed);
  }
  const std::lock_guard lock(mutex);
  stats.cache_bytes = static_cast<size_t>(pool->used()) * pool->page_bytes();
  stats.most_cache_bytes = static_cast<size_t>(pool->allocated()) * pool->page_bytes();
}

// Waits for what it looked at, so that want of memory for it is this request's failure alone.
Result<std::vector<ImageFeatures>> Scheduler::Loop::Look(const Looker& look) {
  BIFRONS_TRY(auto images, look());
  for (const ImageFeatures& image : images) janus.images().Wait(image->ready);
  return images;
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
    worker->Post(ImageWorker::Work::kLook, [this, answer] {
      const auto clock = Clock::now();
      if (answer->cancelled) {
        answer->looking = Failure(kCancelled);
      } else {
        auto images = GuardMemory<std::vector<ImageFeatures>>([&] { return Look(answer->request.look); });
        answer->looking = images.ok() ? CheckImages(answer->prompt, images->size()) : images.error();
        if (answer->looking.ok()) answer->request.images = std::move(*images);
      }
      answer->request.look = nullptr;
      {
        const std::lock_guard lock(mutex);
        stats.vision_seconds += Seconds(clock);
      }
      answer->looked = true;
      if (answer->cancelled) any_cancelled = true;
      Changed();
    });
  }
}

// One chunk's worth of tokens between two steps: short prompts together, long ones piece by piece, so that
// nobody in the batch waits for a prompt.
void Scheduler::Loop::PrefillSome() {
  if (starting.empty()) return;
  const auto clock = Clock::now();
  int64_t tokens = 0;
  while (!starting.empty() && tokens < kPrefillChunk) {
    Starting& first = *starting.front();
    if (!first.complete()) tokens += first.Advance(janus);
    if (!first.complete()) continue;
    first.Join(janus, batch);
    starting.pop_front();
  }
  const std::lock_guard lock(mutex);
  stats.prompt_tokens += tokens;
  stats.prefill_seconds += Seconds(clock);
}

void Scheduler::Loop::Step() {
  const auto clock = Clock::now();
  StepResult step = batch.Step([&](int64_t id, const std::string& more) {
    const auto& answer = static_cast<const OpenAnswer&>(*running.at(id));
    if (answer.handlers.on_text && !answer.cancelled) answer.handlers.on_text(more);
  });
  {
    const std::lock_guard lock(mutex);
    stats.decode_seconds += Seconds(clock);
    stats.steps += step.rows > 0 ? 1 : 0;
    stats.rows += step.rows;
    stats.largest_step = std::max(stats.largest_step, step.rows);
    stats.image_tokens += step.image_tokens, stats.text_tokens += step.text_tokens;
    stats.bytes_read += step.bytes_read;
  }
  const auto tell = [&](int64_t id, int64_t tokens) {
    const auto& picture = static_cast<const OpenPicture&>(*running.at(id));
    if (picture.handlers.on_tokens && !picture.cancelled) picture.handlers.on_tokens(tokens);
  };
  for (const auto& rows : batch.pictures()) tell(rows->id, rows->tokens);
  for (DrawnCodes& drawn : step.pictures) {
    tell(drawn.id, janus.config().vq.tokens());
    auto picture = std::static_pointer_cast<OpenPicture>(running.at(drawn.id));
    End(picture);
    Decode(std::move(picture), std::move(drawn));
  }
  for (Answer& answer : step.answers) {
    auto request = std::static_pointer_cast<OpenAnswer>(running.at(answer.id));
    End(request);
    {
      const std::lock_guard lock(mutex);
      stats.answers++;
    }
    Close(request, [&] { request->handlers.on_done(std::move(answer)); });
  }
  for (const FailedRows& failed : step.failed) {
    const auto request = running.at(failed.id);
    End(request);
    Fail(request, failed.error);
  }
}

void Scheduler::Loop::Decode(std::shared_ptr<OpenPicture> picture, DrawnCodes codes) {
  const auto drawn = std::make_shared<const DrawnCodes>(std::move(codes));
  worker->Post(ImageWorker::Work::kDecode, [this, picture = std::move(picture), drawn] {
    if (picture->cancelled) return Fail(picture, Failure(kCancelled));
    const auto clock = Clock::now();
    auto decoded = GuardMemory<DrawnPicture>([&] { return DecodeDrawn(janus, *drawn); });
    {
      const std::lock_guard lock(mutex);
      stats.vq_seconds += Seconds(clock);
      stats.pictures++;
    }
    if (!decoded.ok()) return Fail(picture, decoded.error());
    Close(picture, [&] { picture->handlers.on_done(std::move(*decoded)); });
  });
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
    const std::lock_guard busy(worker->busy());
    use();
  }
}

void Scheduler::Loop::FailAll(const Error& error) {
  std::vector<std::shared_ptr<Open>> all;
  {
    const std::lock_guard lock(mutex);
    pictures.insert(pictures.end(), new_pictures.begin(), new_pictures.end());
    answers.insert(answers.end(), new_answers.begin(), new_answers.end());
    new_pictures.clear(), new_answers.clear();
  }
  all.insert(all.end(), pictures.begin(), pictures.end());
  all.insert(all.end(), answers.begin(), answers.end());
  pictures.clear(), answers.clear();
  starting.clear();
  for (const auto& [id, request] : std::map(running)) {
    batch.Remove(id);
    End(request);
    all.push_back(request);
  }
  // Looking still works on some of them.
  worker.reset();
  for (const auto& request : all) Fail(request, error);
  worker.emplace();
}

}  // namespace bifrons
