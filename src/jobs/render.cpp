#include "src/jobs/render.h"

#include <algorithm>
#include <atomic>
#include <ctime>
#include <filesystem>

#include "src/base/mapped_file.h"
#include "src/base/sha256.h"
#include "src/jobs/job_sheet.h"
#include "src/jobs/openai_batch.h"
#include "vision/png.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;

constexpr double kTick = 0.1;  // seconds between looks at `stop`

double Seconds(std::chrono::steady_clock::duration d) { return std::chrono::duration<double>(d).count(); }

std::span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

/// Whether the list can be read twice.
bool IsFile(const std::string& jobs) {
  std::error_code error;
  return jobs != "-" && fs::is_regular_file(jobs, error);
}

}  // namespace

Result<ModelParts> PartsForJobs(const std::string& jobs, JobFormat format) {
  ModelParts parts;
  if (format != JobFormat::kOpenAi) return parts;  // others hold pictures only
  if (!IsFile(jobs)) {
    parts.understanding = true;
    return parts;
  }
  bool pictures = false, answers = false;
  BIFRONS_TRY(const auto reader, JobReader::Open(jobs));
  for (;;) {
    BIFRONS_TRY(const auto entry, reader->Next());
    if (!entry || (pictures && answers)) break;
    const Job* const job = std::get_if<Job>(&*entry);
    pictures |= job && job->picture;
    answers |= job && job->answer;
  }
  if (answers && !pictures) return kUnderstandingParts;
  parts.understanding = answers;
  return parts;
}

Renderer::Renderer(Janus& janus, std::unique_ptr<JobReader> reader, RenderOptions options,
                   RenderListener& listener)
    : janus_(janus),
      options_(std::move(options)),
      listener_(listener),
      reader_(std::move(reader)),
      format_(reader_->format()) {}

// ---- the list, and what is there already

Status Renderer::Open() {
  BIFRONS_TRY(model_, DescribeModel(janus_));
  plan_model_ = {model_.model_hash, janus_.config().guidance_default, model_.width, model_.height};
  BIFRONS_TRY(folder_, OutputFolder::Open(options_.folder, options_.manifest));
  ManifestHeader header;
  header.shard = options_.shard.ToString();
  header.model = model_.model, header.model_hash = model_.model_hash, header.version = model_.version;
  header.defaults = ToJson(options_.defaults);
  std::set<std::string> unfinished;  // custom ids whose earlier answer is not to these requests
  if (IsFile(options_.jobs)) BIFRONS_RETURN_IF_ERROR(ReadAhead(&header, &unfinished));
  BIFRONS_RETURN_IF_ERROR(folder_->Begin(std::move(header)));
  if (format_ != JobFormat::kOpenAi) return {};
  return folder_->OpenBatchOutput([&](const std::string& id) { return !unfinished.contains(id); });
}

Status Renderer::ReadAhead(ManifestHeader* header, std::set<std::string>* unfinished) {
  BIFRONS_TRY(const auto reader, JobReader::Open(options_.jobs));
  KeyCounter keys;
  Sha256 list;
  int64_t position = 0, results = 0, expected = 0;
  for (;; position++) {
    BIFRONS_TRY(const auto entry, reader->Next());
    if (!entry) break;
    const Job* const job = std::get_if<Job>(&*entry);
    const std::string key =
        job ? keys.Unique(ContentKey(*job, options_.defaults, format_, model_.model_hash)) : "no job";
    list.Update(Bytes(key + "\n"));
    if (!job) continue;
    const int64_t count = job->picture ? PictureCount(*job, options_.defaults, format_) : 1;
    results += count;
    if (!options_.shard.Holds(position)) continue;
    expected += count;
    for (int64_t k = 0; !job->custom_id.empty() && k < count; k++)
      if (!folder_->finished().Find(key, k)) unfinished->insert(job->custom_id);
  }
  header->jobs = position, header->results = results;
  header->list = list.Finish().substr(0, 32);
  summary_.progress.expected = expected;
  return {};
}

// ---- feeding

Status Renderer::Run(const std::function<bool()>& stop) {
  start_ = Clock::now();
  BIFRONS_RETURN_IF_ERROR(Open());
  summary_.begun = true;
  scheduler_ = std::make_unique<Scheduler>(janus_, options_.scheduler);
  Status read = Feed(stop);
  WaitForTheRest(stop);
  scheduler_->WaitUntilIdle();
  if (read.ok() && !stop() && !IsAbandoned()) WriteListSheets();
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
          if (!request->picture || request->tokens < scheduler_->image_tokens()) drop.push_back(request->id);
        if (!abandoned_ && drop.size() < requests_.size()) listener_.OnFinishing();
      } else if (asked && Seconds(Clock::now() - *asked) > kFinishingSeconds - 2) {
        for (const auto& [number, request] : requests_) drop.push_back(request->id);
      }
    }
    for (const Scheduler::Id id : drop) scheduler_->Cancel(id);
    ReportProgress();
  }
}

Status Renderer::Feed(const Stop& stop) {
  EntryQueue queue(std::move(reader_));
  while (WaitForRoom(stop)) {
    EntryQueue::Item item = queue.Pop(kTick);
    if (const auto* end = std::get_if<EntryQueue::End>(&item)) {
      // The reader has heard of it first, which is no error of the list's.
      if (!end->status.ok() && stop()) continue;
      return end->status;
    }
    if (auto* entry = std::get_if<JobReader::Entry>(&item)) {
      if (auto* job = std::get_if<Job>(entry)) {
        Take(*job, stop);
      } else if (options_.shard.Holds(position_++)) {
        auto& bad = std::get<BadJob>(*entry);
        Fail({bad.index, bad.where, "", bad.custom_id, "", bad.error});
      }
    }
  }
  return {};
}

void Renderer::Take(const Job& job, const Stop& stop) {
  const JobDefaults& defaults = options_.defaults;
  const std::string key = keys_.Unique(ContentKey(job, defaults, format_, model_.model_hash));
  if (!options_.shard.Holds(position_++)) return;
  const int64_t count = PictureCount(job, defaults, format_);
  const FinishedWork& finished = folder_->finished();
  const ManifestRecord* const any = finished.FindAny(key);
  std::optional<uint64_t> seed = GivenSeed(job, defaults);
  // Where a list was dealt anew, another manifest fixed it.
  if (!seed && any) seed = any->seed - static_cast<uint64_t>(defaults.plot.empty() ? any->number : 0);
  if (!seed) seed = DerivedSeed(folder_->seed_base(), key, std::max<int64_t>(count, 1));

  auto planned = Plan(job, key, defaults, format_, plan_model_, options_.names, *seed);
  if (!planned.ok()) return Fail(FailedOf(job, key, planned.error()));
  if (const Status claimed = ClaimNames(*planned); !claimed.ok())
    return Fail(FailedOf(job, key, claimed.error()));
  const auto live = std::make_shared<Live>();
  live->plan = std::move(*planned);

  if (job.answer) {
    if (any) {
      live->answer = *any;
      Kept(*any, job);
      return FinishJob(*live);
    }
    live->remaining = 1;
    return SubmitAnswer(live, *seed);
  }
  if (!WriteGenEvalMetadata(job)) return;
  std::vector<size_t> missing;
  for (size_t k = 0; k < live->plan.pictures.size(); k++) {
    if (stop() || IsAbandoned()) return;
    const ManifestRecord* const record = finished.Find(key, static_cast<int64_t>(k));
    if (record && folder_->Holds(*record)) {
      Kept(*record, job);
    } else {
      missing.push_back(k);
    }
  }
  if (stop()) return;  // what seems to be missing may be what Holds had no time for
  live->remaining = static_cast<int64_t>(missing.size());
  live->fresh = !missing.empty();
  if (missing.empty()) return FinishJob(*live);
  for (const size_t k : missing) {
    if (!WaitForRoom(stop)) return;
    SubmitPicture(live, k);
  }
}

// GenEval's tree: what was asked for stands beside its samples. Whether it does.
bool Renderer::WriteGenEvalMetadata(const Job& job) {
  if (format_ != JobFormat::kGenEval) return true;
  const std::string file = GenEvalFolder(job.index) + "/metadata.jsonl", text = job.geneval_metadata + "\n";
  const auto there = MappedFile::Open(folder_->PathOf(file));
  if (there.ok() && std::ranges::equal(there->bytes(), Bytes(text))) return true;
  const auto error = folder_->WriteFile(file, Bytes(text));
  if (!error) return true;
  if (error->folder) {
    Abandon(error->error);
  } else {
    Fail(FailedOf(job, "", error->error));
  }
  return false;
}

// Finished pictures keep the names they have. No other job may write over one of this run, or of the
// manifests.
Status Renderer::ClaimNames(PlannedJob& planned) {
  const FinishedWork& finished = folder_->finished();
  for (PlannedPicture& picture : planned.pictures) {
    const ManifestRecord* const record = finished.Find(planned.key, picture.number);
    if (record) picture.file = record->file;
    picture.file = fs::path(picture.file).lexically_normal().string();
    const auto [claim, fresh] = claims_.emplace(picture.file, planned.job.index);
    if (!fresh) {
      return UsageError("its file " + picture.file + " is that of " +
                        (claim->second == planned.job.index
                             ? "another of its pictures"
                             : "the job with index " + std::to_string(claim->second)) +
                        " already; a name with {index} and {number} tells them apart");
    }
    std::error_code error;
    const std::string* const owner = finished.OwnerOf(picture.file);
    if (!record && owner && *owner != planned.key && fs::exists(folder_->PathOf(picture.file), error)) {
      return UsageError("its file " + picture.file +
                        " holds a picture of another job or of other settings; take "
                        "another folder or name, or remove that file");
    }
  }
  return {};
}

void Renderer::SubmitPicture(const std::shared_ptr<Live>& live, size_t k) {
  const PlannedPicture& picture = live->plan.pictures[k];
  const auto request = Enter(/*picture=*/true);
  DrawHandlers handlers;
  handlers.on_tokens = [request](int64_t tokens) {
    if (tokens == 1) request->begun = Clock::now();
    request->tokens = tokens;
  };
  handlers.on_done = [this, live, k, request](Result<DrawnPicture> drawn) {
    Deliver(*live, k, std::move(drawn), *request);
    Leave(*request);
  };
  Submitted(
      *live, *request,
      scheduler_->Submit(DrawRequest{picture.prompt, picture.seed, picture.sampling}, std::move(handlers)));
}

void Renderer::SubmitAnswer(const std::shared_ptr<Live>& live, uint64_t seed) {
  const AnswerJob& job = *live->plan.job.answer;
  AnswerRequest request;
  for (const AnswerJob::Turn& turn : job.turns)
    request.turns.push_back({turn.images, turn.question, turn.answer});
  request.look = [this, live]() -> Result<std::vector<ImageFeatures>> {
    std::vector<ImageFeatures> features;
    for (const std::string& source : live->plan.job.answer->images) {
      BIFRONS_TRY(const Image image, LoadImage(source, options_.images));
      features.push_back(LookAt(janus_, image));
    }
    return features;
  };
  if (job.temperature) request.sampling.temperature = *job.temperature;
  if (job.top_p) request.sampling.top_p = *job.top_p;
  if (job.max_tokens) request.max_tokens = *job.max_tokens;
  request.seed = seed;
  const auto entered = Enter(/*picture=*/false);
  AnswerHandlers handlers;
  handlers.on_done = [this, live, entered, seed, sampling = request.sampling](Result<Answer> answer) {
    Deliver(*live, std::move(answer), seed, sampling, *entered);
    Leave(*entered);
  };
  Submitted(*live, *entered, scheduler_->Submit(std::move(request), std::move(handlers)));
}

std::shared_ptr<Renderer::Request> Renderer::Enter(bool picture) {
  auto request = std::make_shared<Request>();
  request->picture = picture;
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
  Fail(live, id.error());
  FinishOne(live);
  Leave(request);
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
  const double tokens = static_cast<double>(scheduler_->stats().image_tokens);
  const std::lock_guard lock(mutex_);
  RenderProgress& progress = summary_.progress;
  progress.image_tokens = tokens,
  progress.tokens_per_picture = static_cast<double>(scheduler_->image_tokens());
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
