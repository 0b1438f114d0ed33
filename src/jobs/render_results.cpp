// What becomes of results: files, manifest lines, answers, sheets, failures.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <new>

#include "src/base/mapped_file.h"
#include "src/base/seconds_since.h"
#include "src/base/sha256.h"
#include "src/base/stop.h"
#include "src/jobs/job_sheet.h"
#include "src/jobs/openai_batch.h"
#include "src/jobs/render.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kNoJob = -1;  // whose sheet a list's is

bool HoldsFile(const std::string& path, const Result<std::vector<uint8_t>>& bytes) {
  const auto file = MappedFile::Open(path);
  return bytes.ok() && file.ok() && std::ranges::equal(file->bytes(), *bytes);
}

// A size that a job asks for may be more than memory holds.
Result<std::vector<uint8_t>> FileOf(Image drawn, const PictureSettings& settings, PictureFormat format) {
  try {
    return EncodePicture(Resampled(std::move(drawn), settings), format, FormatParameters(settings));
  } catch (const std::bad_alloc&) {
    return Failure("not enough memory for a picture of " + std::to_string(settings.file_width()) + "x" +
                   std::to_string(settings.file_height()) + " pixels");
  }
}

ManifestRecord RecordOf(const PlannedJob& plan) {
  ManifestRecord record;
  record.key = plan.key;
  record.of = std::max<int64_t>(1, static_cast<int64_t>(plan.pictures.size()));
  record.index = plan.job.index;
  record.where = plan.job.where, record.custom_id = plan.job.custom_id;
  return record;
}

}  // namespace

void Renderer::Deliver(Live& live, size_t k, Result<DrawnPicture> drawn, Request& request) {
  if (IsAbandoned() || (!drawn.ok() && Scheduler::IsCancelled(drawn.error()))) return;
  const Status written = drawn.ok() ? WritePicture(live, k, std::move(*drawn), request) : drawn.error();
  if (!written.ok()) Fail(live, written.error());
  FinishOne(live);
}

PictureSettings Renderer::SettingsOf(const PlannedJob& plan, const PlannedPicture& picture) const {
  PictureSettings settings = model_;
  settings.prompt = picture.prompt, settings.seed = picture.seed;
  settings.sampling = picture.sampling;
  settings.upscale = options_.defaults.upscale;
  if (plan.resized) settings.resized_width = plan.size.width, settings.resized_height = plan.size.height;
  return settings;
}

// An error is the job's own; the folder's end everything.
Status Renderer::WritePicture(Live& live, size_t k, DrawnPicture drawn, Request& request) {
  const auto begun = Clock::now();
  PlannedPicture& picture = live.plan.pictures[k];
  picture.seed = drawn.seed;
  PictureDetails details;
  details.settings = SettingsOf(live.plan, picture);
  details.settings.choice = std::move(drawn.choice);
  details.format = NameOf(live.plan.format);
  details.drawing_seconds = std::chrono::duration<double>(begun - request.begun).count();

  BIFRONS_TRY(const auto bytes, FileOf(std::move(drawn.image), details.settings, live.plan.format));
  if (const auto error = folder_->WriteFile(picture.file, bytes, live.over[k])) {
    if (!error->folder) return error->error;
    Abandon(error->error);
    return {};
  }
  ManifestRecord record = RecordOf(live.plan);
  record.number = picture.number, record.seed = picture.seed;
  if (picture.best_of > 1) record.first_seed = details.settings.choice.first_seed;
  record.file = picture.file, record.bytes = static_cast<int64_t>(bytes.size());
  record.sha256 = live.hashes[k] = Sha256::Hex(bytes);
  record.mtime_ns = folder_->TimeOf(picture.file);
  details.file_seconds = SecondsSince(begun);
  const std::string line = PictureLine(record, details);
  if (const Status recorded = folder_->Record(line); !recorded.ok()) {
    Abandon(recorded.error());
    return {};
  }
  const std::lock_guard lock(mutex_);
  summary_.progress.drawn++;
  request.written = true;
  listener_.OnPicture(folder_->PathOf(picture.file), line);
  return {};
}

void Renderer::Deliver(Live& live, Result<Answer> answer, uint64_t seed, const Sampling& sampling,
                       const Request& request) {
  const double seconds = SecondsSince(request.begun);
  if (IsAbandoned() || (!answer.ok() && Scheduler::IsCancelled(answer.error()))) return;
  if (!answer.ok()) {
    // What an end of the program broke off is no failure of the job's.
    if (StopRequested()) return;
    Fail(live, answer.error());
    return FinishOne(live);
  }
  ManifestRecord& record = live.answer = RecordOf(live.plan);
  record.seed = seed;
  record.text = answer->text, record.complete = answer->complete;
  record.prompt_tokens = answer->prompt_tokens, record.tokens = static_cast<int64_t>(answer->tokens.size());
  const std::string line = AnswerLine(record, model_, sampling, seconds);
  if (const Status recorded = folder_->Record(line); !recorded.ok()) return Abandon(recorded.error());
  {
    const std::lock_guard lock(mutex_);
    summary_.progress.answered++;
    listener_.OnAnswer(record, line);
  }
  FinishOne(live);
}

void Renderer::Leave(const Request& request) {
  const std::lock_guard lock(mutex_);
  requests_.erase(request.number);
  changed_.notify_all();
}

void Renderer::FinishOne(Live& live) {
  {
    const std::lock_guard lock(mutex_);
    if (--live.remaining > 0) return;
  }
  FinishJob(live);
}

// All of the job is there, now or from before.
void Renderer::FinishJob(Live& live) {
  {
    const std::lock_guard lock(mutex_);
    if (live.failed || abandoned_) return;
  }
  if (format_ == JobFormat::kOpenAi && !folder_->IsAnswered(live.plan.job.custom_id)) WriteBatchAnswer(live);
  const Job& job = live.plan.job;
  if (!live.sheet.empty()) {
    FailedJob whose = FailedOf(job, live.plan.key, {});
    if (!live.sheet_claim.ok()) return FailSheet(std::move(whose), live.sheet_claim.error());
    WriteSheet(live.sheet, PlanSheet(live.plan, live.hashes, options_.defaults.plot, options_.sheet_columns),
               std::move(whose));
  } else if (options_.sheets && live.plan.pictures.size() == 1) {
    const PlannedPicture& picture = live.plan.pictures[0];
    const std::lock_guard lock(mutex_);
    singles_[job.index] = {picture.file, live.hashes[0], picture.prompt, picture.seed};
  }
}

// At the end, as a sheet holds pictures that are finished in any order.
void Renderer::WriteListSheets() {
  std::vector<SinglePicture> all;
  for (auto& [index, single] : singles_) all.push_back(std::move(single));
  const auto size = static_cast<size_t>(ListSheetPictures(options_.sheet_columns));
  const PictureFormat format = options_.defaults.format.value_or(PictureFormat::kPng);
  for (size_t first = 0; first < all.size() && all.size() > 1 && !IsAbandoned(); first += size) {
    const auto some = std::span(all).subspan(first, std::min(size, all.size() - first));
    char name[64];
    std::snprintf(name, sizeof name, "contact_sheet%s_%03zu.%s", folder_->suffix().c_str(), first / size + 1,
                  NameOf(format));
    const FailedJob whose{0, name, "", "", "", {}};
    if (const Status claimed = ClaimSheet(name, kNoJob); !claimed.ok()) {
      FailSheet(whose, claimed.error());
    } else {
      WriteSheet(name, PlanListSheet(some, options_.sheet_columns, format), whose);
    }
  }
}

// One that is up to date stays, an older one is drawn anew, and anything else is not written over.
void Renderer::WriteSheet(const std::string& file, const PlannedSheet& sheet, FailedJob whose) {
  const std::string path = folder_->PathOf(file), text = SheetText(sheet);
  const auto make = [&](const std::string& with) {
    return MakeSheet(
        sheet, [this](const std::string& picture) { return folder_->PathOf(picture); }, with);
  };
  std::optional<OutputFiles::Found> found;
  auto error = folder_->Look(file, &found);
  if (!error && found) {
    const auto there = ReadPictureParameters(path);
    if (there.ok() && *there == text) return;
    // Version 0.1 wrote no text.
    const bool ours = there.ok() ? IsSheetText(*there) : HoldsFile(path, make(""));
    if (!ours) {
      return FailSheet(std::move(whose),
                       UsageError(file + " is there already and is no sheet of bifrons; move "
                                         "it away, or take another folder or name"));
    }
  }
  if (!error) {
    const auto bytes = make(text);
    if (!bytes.ok()) return FailSheet(std::move(whose), bytes.error());
    error = folder_->WriteFile(file, *bytes, found);
  }
  if (error) return error->folder ? Abandon(error->error) : FailSheet(std::move(whose), error->error);
  const std::lock_guard lock(mutex_);
  summary_.sheets++;
  listener_.OnSheet(path);
}

void Renderer::WriteBatchAnswer(Live& live) {
  const Job& job = live.plan.job;
  const auto now = static_cast<int64_t>(std::time(nullptr));
  if (job.answer) {
    const ManifestRecord& a = live.answer;
    return Keep(folder_->RecordBatchAnswer(
        job.custom_id, ChatLine(job, live.plan.key, now, job.model.empty() ? model_.model : job.model, a.text,
                                a.complete, a.prompt_tokens, a.tokens)));
  }
  std::vector<MappedFile> files;
  std::vector<AnswerPicture> pictures;
  for (const PlannedPicture& picture : live.plan.pictures) {
    const std::string path = folder_->PathOf(picture.file);
    std::error_code error;
    pictures.push_back({"file://" + fs::absolute(path, error).lexically_normal().string(), {}});
    if (!job.inline_image) continue;
    auto file = MappedFile::Open(path);
    if (!file.ok()) return Fail(live, file.error());
    files.push_back(std::move(*file));
    pictures.back().file = files.back().bytes();
  }
  std::string line;
  try {
    line = ImagesLine(job, live.plan.key, now, NameOf(live.plan.format), live.plan.size, pictures);
  } catch (const std::bad_alloc&) {
    return Fail(live, Failure("not enough memory for an answer with " + std::to_string(pictures.size()) +
                              " pictures inside; ask for fewer, or for their url"));
  }
  Keep(folder_->RecordBatchAnswer(job.custom_id, line));
}

void Renderer::Fail(Live& live, const Error& error) {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(live.failed, true)) return;
  }
  Fail(FailedOf(live.plan.job, live.plan.key, error));
}

void Renderer::Fail(const FailedJob& failed, bool answered) {
  if (format_ == JobFormat::kOpenAi && !answered && !folder_->IsAnswered(failed.custom_id))
    Keep(folder_->RecordBatchRefusal(failed.custom_id, ErrorLine(failed.custom_id, failed.error)));
  CountFailed(failed);
}

// The job itself is done, and a batch has its answer.
void Renderer::FailSheet(FailedJob whose, const Error& error) {
  whose.error = {error.kind, "its sheet: " + error.message};
  CountFailed(whose);
}

void Renderer::CountFailed(const FailedJob& failed) {
  Keep(folder_->RecordFailure(failed));
  const std::lock_guard lock(mutex_);
  summary_.progress.failed++;
  listener_.OnFailed(failed);
}

bool Renderer::IsAbandoned() {
  const std::lock_guard lock(mutex_);
  return abandoned_.has_value();
}

void Renderer::Abandon(const Error& error) {
  const std::lock_guard lock(mutex_);
  if (!abandoned_) abandoned_ = error;
  changed_.notify_all();
}

}  // namespace bifrons
