#include "src/jobs/render.h"

#include <algorithm>
#include <filesystem>
#include <new>
#include <stdexcept>
#include <tuple>

#include "src/base/mapped_file.h"
#include "src/base/out_of_memory.h"
#include "src/base/printable.h"
#include "src/jobs/line_reader.h"
#include "src/jobs/openai_batch.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;

constexpr double kTick = 0.1;             // seconds between looks at `stop`
constexpr double kCountingSeconds = 0.5;  // that the first picture waits for the list's count
constexpr double kTokensShare = 0.95;     // of a picture's work: it is to be decoded and written, too
constexpr size_t kVerifyAtOnce = 64;      // jobs whose finished pictures are read at a time

double Seconds(std::chrono::steady_clock::duration d) { return std::chrono::duration<double>(d).count(); }

// What did not fit into memory, as an error.
template <class Function>
Result<Scheduler::Id> WithinMemory(const Function& submit) {
  try {
    return submit();
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {
  }
  return Failure("not enough memory for this job");
}

// A stream has no folder, whatever name it goes by: /dev/stdin, /proc/self/fd/0.
Result<ImageFolder> ImagesOf(const RenderOptions& options) {
  if (!options.image_root.empty()) return ImageFolder::Open(options.image_root);
  std::error_code error;
  const std::string jobs = fs::absolute(options.jobs, error).lexically_normal().string();
  if (!IsListFile(options.jobs) || jobs.starts_with("/dev/") || jobs.starts_with("/proc/"))
    return ImageFolder();
  return ImageFolder::Open(fs::path(jobs).parent_path().string());
}

}  // namespace

Renderer::Renderer(Janus& janus, std::unique_ptr<JobReader> reader, RenderOptions options,
                   RenderListener& listener)
    : janus_(janus),
      options_(std::move(options)),
      listener_(listener),
      reader_(std::move(reader)),
      format_(reader_->format()) {}

// ---- the list, and what is there already

Status Renderer::Open() {
  model_ = DescribeModel(janus_);
  BIFRONS_TRY(model_.model_hash, janus_.source().Hash());
  plan_model_ = {IdentityOf(model_.model_hash, model_.weights, model_.given_kv()),
                 janus_.config().guidance_default, model_.width, model_.height};
  BIFRONS_TRY(images_, ImagesOf(options_));
  header_.shard = options_.shard.ToString();
  header_.model = model_.model, header_.model_hash = model_.model_hash, header_.version = model_.version;
  header_.weights = model_.weights, header_.kv = model_.given_kv();
  header_.width = model_.width, header_.height = model_.height;
  header_.defaults = ToJson(options_.defaults);
  if (IsListFile(options_.jobs)) {
    counter_ = std::make_unique<ListCounter>(ListKeys{options_.jobs, options_.defaults, plan_model_},
                                             options_.shard);
    header_.provisional = true;
    // Short lists are counted before anything else is written. For others nobody waits.
    if (counter_->WaitFor(kCountingSeconds)) TakeCount();
  }
  BIFRONS_TRY(folder_, OutputFolder::Open(options_.folder, options_.manifest, header_));
  BIFRONS_RETURN_IF_ERROR(folder_->Begin(header_));
  return format_ == JobFormat::kOpenAi ? OpenBatchOutput() : Status();
}

// Answers of earlier runs count, unless their custom_id has another request now, or one that is not finished.
// Only where there are any, the list is looked through for such.
Status Renderer::OpenBatchOutput() {
  const ListKeys keys{options_.jobs, options_.defaults, plan_model_};
  constexpr uint64_t kNone = 0;
  const auto mark = [](const std::string& request_id) { return DigestOf(request_id).high | 1; };
  std::optional<DigestMap<uint64_t>> right;  // marks of the answers that count, or kNone, by custom_id
  Status read;
  const auto look = [&](const ListKeys::Entry& entry) {
    // An answer from when this request could be done.
    if (entry.bad && !entry.bad->duplicate && !entry.bad->custom_id.empty())
      right->Insert(DigestOf(entry.bad->custom_id), kNone);
    if (!entry.job || !options_.shard.Holds(entry.position)) return true;
    bool whole = true;
    for (int64_t k = 0; k < entry.results && whole; k++) whole = folder_->finished().Has(entry.key, k);
    *right->Insert(DigestOf(entry.job->custom_id), kNone).first =
        whole ? mark(AnswerRequestId(*entry.job, entry.key)) : kNone;
    return true;
  };
  BIFRONS_RETURN_IF_ERROR(folder_->OpenBatchOutput([&](const std::string& id, const std::string& request_id) {
    if (!right) {
      right.emplace();
      if (IsListFile(options_.jobs)) read = keys.Visit(look);
    }
    const uint64_t* const asked = right->Find(DigestOf(id));
    return !read.ok() || !asked || *asked == mark(request_id);
  }));
  return read;
}

void Renderer::TakeCount() {
  const auto count = std::exchange(counter_, nullptr)->Get();
  ReleaseFreedMemory();     // the counter's tables of a long list
  if (!count.ok()) return;  // who feeds meets the same
  header_.jobs = count->jobs, header_.results = count->results, header_.list = count->list;
  header_.digest = count->digest;
  header_.provisional = false;
  const std::lock_guard lock(mutex_);
  summary_.progress.expected = count->expected;
}

// ---- feeding

Status Renderer::Run(const std::function<bool()>& stop) {
  start_ = Clock::now();
  // First, as their threads take memory that a huge line of the list may take otherwise.
  scheduler_ = std::make_unique<Scheduler>(janus_, options_.scheduler);
  EntryQueue entries(std::move(reader_));
  BIFRONS_RETURN_IF_ERROR(Open());
  summary_.begun = true;
  Status read = Feed(entries, stop);
  WaitForTheRest(stop);
  scheduler_->WaitUntilIdle();
  while (counter_ && !stop() && !IsAbandoned()) {
    counter_->WaitFor(kTick);
    ReportProgress();
  }
  counter_.reset();
  if (read.ok() && !stop() && !IsAbandoned()) WriteListSheets();
  if (!IsAbandoned()) Keep(folder_->FinishBatchOutput());
  summary_.stats = scheduler_->stats();
  scheduler_.reset();
  summary_.progress.seconds = Seconds(Clock::now() - start_);
  if (abandoned_) return *abandoned_;
  return read;
}

void Renderer::WaitForTheRest(const Stop& stop) {
  for (std::optional<Clock::time_point> asked;;) {
    std::vector<Scheduler::Id> drop;
    {
      std::unique_lock lock(mutex_);
      if (requests_.empty()) return;
      changed_.wait_for(lock, std::chrono::duration<double>(kTick));
      if (!asked && (stop() || abandoned_)) {
        asked = Clock::now();
        summary_.interrupted |= !abandoned_;
        // A picture whose tokens are all there is only to be decoded and written.
        for (const auto& [number, request] : requests_)
          if (request->all_tokens == 0 || request->tokens < request->all_tokens) drop.push_back(request->id);
        if (!abandoned_ && drop.size() < requests_.size()) listener_.OnFinishing();
      } else if (asked && Seconds(Clock::now() - *asked) > kFinishingSeconds - 2) {
        for (const auto& [number, request] : requests_) drop.push_back(request->id);
      }
    }
    for (const Scheduler::Id id : drop) scheduler_->Cancel(id);
    ReportProgress();
  }
}

Status Renderer::Feed(EntryQueue& queue, const Stop& stop) {
  while (WaitForRoom(stop)) {
    EntryQueue::Item item = queue.Pop(waiting_.empty() ? kTick : 0);
    summary_.passed_over = queue.passed_over();
    const auto* const end = std::get_if<EntryQueue::End>(&item);
    if (end || std::holds_alternative<std::monostate>(item)) VerifyWaiting(stop);
    if (end) {
      // The reader has heard of a stop first, which is no error of the list's.
      if (!end->status.ok() && stop()) continue;
      if (end->status.ok() && IsListFile(options_.jobs))
        summary_.others = static_cast<int64_t>(folder_->finished().size()) - found_;
      return end->status;
    }
    if (auto* entry = std::get_if<JobReader::Entry>(&item)) {
      if (auto* job = std::get_if<Job>(entry)) {
        TakeWithinMemory(*job, stop);
      } else if (options_.shard.Holds(position_++)) {
        auto& bad = std::get<BadJob>(*entry);
        Fail({bad.index, bad.where, "", bad.custom_id, "", bad.error}, bad.duplicate);
      }
    }
  }
  return {};
}

// A job that is too big for the memory at hand fails, and the next one is taken.
void Renderer::TakeWithinMemory(Job& job, const Stop& stop) {
  const int64_t next = position_ + 1;
  FailedJob failed{job.index, job.where, "", "", "", {}};
  try {
    return Take(job, stop);
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {
  }
  failed.custom_id = std::move(job.custom_id);
  job = {};
  ReleaseFreedMemory();
  failed.error = Failure("not enough memory for this job");
  position_ = next;
  if (options_.shard.Holds(next - 1)) Fail(failed);
}

void Renderer::Take(const Job& job, const Stop& stop) {
  const JobDefaults& defaults = options_.defaults;
  const std::string key = keys_.Unique(ContentKey(job, defaults, format_, plan_model_));
  const int64_t count = PictureCount(job, defaults, format_);
  // Of other shards too, whose results may stand in the same folder.
  for (int64_t k = 0; k < std::max<int64_t>(count, 1); k++) found_ += folder_->finished().Has(key, k);
  if (!options_.shard.Holds(position_++)) return;
  if (!job.ignored.empty() && !std::exchange(told_ignored_, true)) {
    const std::lock_guard lock(mutex_);
    listener_.OnIgnored(job.where, job.ignored);
  }
  Known known;
  const ManifestRecord* any = nullptr;
  for (int64_t k = 0; k < std::max<int64_t>(count, 1); k++)
    known.records.push_back(folder_->finished().Find(key, k));
  for (const auto& record : known.records)
    if (record && !any) any = &*record;
  std::optional<uint64_t> seed = GivenSeed(job, defaults);
  // Where a list was dealt anew, another manifest fixed it.
  const int best_of = job.picture ? BestOf(*job.picture, defaults) : 1;
  if (!seed && any) {
    const auto counted = static_cast<uint64_t>(defaults.plot.empty() ? any->number * best_of : 0);
    const uint64_t first = any->first_seed.value_or(any->seed);
    if (first >= counted) seed = first - counted;
  }
  if (!seed) seed = DerivedSeed(folder_->seed_base(), key, std::max<int64_t>(count, 1) * best_of);

  auto planned = Plan(job, key, defaults, format_, plan_model_, options_.names, *seed);
  if (!planned.ok()) return Fail(FailedOf(job, key, planned.error()));
  if (const Status judged = CheckJudge(best_of); !judged.ok())
    return Fail(FailedOf(job, key, judged.error()));
  const auto live = known.live = std::make_shared<Live>();
  live->plan = std::move(*planned);
  if (const Status claimed = ClaimNames(*live, known.records); !claimed.ok())
    return Fail(*live, claimed.error());

  if (job.answer) {
    if (any) {
      live->answer = *any;
      Kept(*any, job);
      return FinishJob(*live);
    }
    live->remaining = 1;
    return SubmitAnswer(live, *seed);
  }
  if (!WriteGenEvalMetadata(*live)) return;
  using Held = OutputFolder::Held;
  for (const auto& record : known.records) {
    Held held = record ? folder_->Compare(*record) : Held::kNo;
    if (options_.verify && held == Held::kYes) held = Held::kUnsure;
    known.held.push_back(held);
  }
  const auto has = [&](Held held) { return std::ranges::count(known.held, held) > 0; };
  const bool draws = has(Held::kNo), waits = has(Held::kUnsure) || !waiting_.empty();
  if (!waits) return Continue(known, stop);
  waiting_.push_back(std::move(known));
  if (draws || waiting_.size() >= kVerifyAtOnce) VerifyWaiting(stop);
}

// Of a file the half is loaded where its text asks for candidates.
Status Renderer::CheckJudge(int best_of) const {
  if (best_of == 1 || janus_.parts().understanding) return {};
  return UsageError(
      "asks for the best of " + std::to_string(best_of) +
          ", and the model's understanding half, which chooses, was not loaded; --best-of 1 has "
          "it loaded for a list whose jobs ask for more",
      "best_of");
}

// Reads the pictures whose time does not tell, on all cores.
void Renderer::VerifyWaiting(const Stop& stop) {
  using Held = OutputFolder::Held;
  std::vector<std::pair<const ManifestRecord*, Held*>> unsure;
  for (Known& known : waiting_) {
    for (size_t k = 0; k < known.held.size(); k++)
      if (known.held[k] == Held::kUnsure) unsure.emplace_back(&*known.records[k], &known.held[k]);
  }
  if (unsure.size() > 1 && !verifiers_) verifiers_ = std::make_unique<ThreadPool>(AvailableThreads());
  const auto verify = [&](int64_t begin, int64_t end, int) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); i++)
      *unsure[i].second = folder_->Verify(*unsure[i].first) ? Held::kYes : Held::kNo;
  };
  if (unsure.size() > 1) {
    verifiers_->ParallelFor(static_cast<int64_t>(unsure.size()), verify);
  } else {
    verify(0, static_cast<int64_t>(unsure.size()), 0);
  }
  for (const Known& known : std::exchange(waiting_, {})) {
    if (stop()) return;  // what is not held may be what there was no time to read
    Continue(known, stop);
  }
}

void Renderer::Continue(const Known& known, const Stop& stop) {
  const std::shared_ptr<Live>& live = known.live;
  std::vector<size_t> missing;
  for (size_t k = 0; k < live->plan.pictures.size(); k++) {
    if (stop() || IsAbandoned()) return;
    if (known.held[k] == OutputFolder::Held::kYes) {
      live->hashes[k] = known.records[k]->sha256;
      live->plan.pictures[k].seed = known.records[k]->seed;
      Kept(*known.records[k], live->plan.job);
    } else {
      if (!MayDraw(*live, k, known.records[k])) return;
      missing.push_back(k);
    }
  }
  if (stop()) return;  // what seems to be missing may be what Holds had no time for
  live->remaining = static_cast<int64_t>(missing.size());
  if (missing.empty()) return FinishJob(*live);
  for (const size_t k : missing) {
    if (!WaitForRoom(stop)) return;
    SubmitPicture(live, k);
  }
}

template <class Work>
void Renderer::Finish(Live& live, const Request& request, const Work& deliver) noexcept {
  Status done = Guarded([&]() -> Status {
    deliver();
    return {};
  });
  if (!done.ok()) {
    done = Guarded([&]() -> Status {
      Fail(live, done.error());
      FinishOne(live);
      return {};
    });
  }
  if (!done.ok()) Abandon(Failure("out of memory"));
  Leave(request);
}

void Renderer::SubmitPicture(const std::shared_ptr<Live>& live, size_t k) {
  const PlannedPicture& picture = live->plan.pictures[k];
  const auto request = Enter(picture.best_of * scheduler_->image_tokens());
  Submitted(*live, *request, WithinMemory([&] {
    DrawHandlers handlers;
    handlers.on_tokens = [request](int64_t tokens) {
      if (tokens == 1) request->begun = Clock::now();
      request->tokens = tokens;
    };
    handlers.on_done = [this, live, k, request](Result<DrawnPicture> drawn) {
      Finish(*live, *request, [&] { Deliver(*live, k, std::move(drawn), *request); });
    };
    return scheduler_->Submit(DrawRequest{picture.prompt, picture.seed, picture.sampling, picture.best_of},
                              std::move(handlers));
  }));
}

void Renderer::SubmitAnswer(const std::shared_ptr<Live>& live, uint64_t seed) {
  const AnswerJob& job = *live->plan.job.answer;
  AnswerRequest request;
  for (const AnswerJob::Turn& turn : job.turns)
    request.turns.push_back({turn.images, turn.question, turn.answer});
  request.look = [this, live]() -> Result<std::vector<ImageFeatures>> {
    std::vector<ImageFeatures> features;
    for (const std::string& source : live->plan.job.answer->images) {
      BIFRONS_TRY(const Image image, images_.Load(source, options_.images));
      features.push_back(LookAt(janus_, image));
    }
    return features;
  };
  if (job.temperature) request.sampling.temperature = *job.temperature;
  if (job.top_p) request.sampling.top_p = *job.top_p;
  if (job.max_tokens) request.max_tokens = *job.max_tokens;
  request.seed = seed;
  const auto entered = Enter(/*all_tokens=*/0);
  Submitted(*live, *entered, WithinMemory([&] {
    AnswerHandlers handlers;
    handlers.on_done = [this, live, entered, seed, sampling = request.sampling](Result<Answer> answer) {
      Finish(*live, *entered, [&] { Deliver(*live, std::move(answer), seed, sampling, *entered); });
    };
    return scheduler_->Submit(std::move(request), std::move(handlers));
  }));
}

std::shared_ptr<Renderer::Request> Renderer::Enter(int64_t all_tokens) {
  auto request = std::make_shared<Request>();
  request->all_tokens = all_tokens;
  request->begun = Clock::now();
  const std::lock_guard lock(mutex_);
  request->number = next_request_++;
  requests_.emplace(request->number, request);
  return request;
}

void Renderer::Submitted(Live& live, Request& request, const Result<Scheduler::Id>& id) {
  if (id.ok()) {
    const std::lock_guard lock(mutex_);
    request.id = *id;
    return;
  }
  Leave(request);  // first: the others may lack memory
  Fail(live, id.error());
  FinishOne(live);
}

bool Renderer::WaitForRoom(const Stop& stop) {
  // Far enough ahead that the scheduler always has the next.
  const SchedulerOptions& at_once = scheduler_->options();
  const auto most = static_cast<size_t>(2 * std::max(at_once.pictures, at_once.answers));
  for (;;) {
    ReportProgress();
    const bool stopped = stop();
    std::unique_lock lock(mutex_);
    summary_.interrupted |= stopped;
    if (stopped || abandoned_) return false;
    if (requests_.size() < most) return true;
    changed_.wait_for(lock, std::chrono::duration<double>(kTick));
  }
}

void Renderer::ReportProgress() {
  const auto now = Clock::now();
  if (Seconds(now - reported_) < kTick) return;
  reported_ = now;
  if (counter_ && counter_->WaitFor(0)) {
    TakeCount();
    Keep(folder_->Begin(header_));
  }
  const double tokens = static_cast<double>(scheduler_->stats().image_tokens);
  const std::lock_guard lock(mutex_);
  RenderProgress& progress = summary_.progress;
  progress.image_tokens = tokens;
  progress.under_way = 0;
  for (const auto& [number, request] : requests_) {
    if (request->all_tokens > 0 && !request->written)
      progress.under_way +=
          kTokensShare * static_cast<double>(request->tokens) / static_cast<double>(request->all_tokens);
  }
  progress.seconds = Seconds(now - start_);
  listener_.OnProgress(progress);
}

void Renderer::Kept(ManifestRecord record, const Job& job) {
  ReportProgress();
  record.index = job.index;
  const std::lock_guard lock(mutex_);
  summary_.progress.kept++;
  listener_.OnKept(record);
}

}  // namespace bifrons
