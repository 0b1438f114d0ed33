// What becomes of results: files, manifest lines, answers, sheets, failures.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>

#include "src/base/mapped_file.h"
#include "src/base/sha256.h"
#include "src/base/stop.h"
#include "src/jobs/job_sheet.h"
#include "src/jobs/openai_batch.h"
#include "src/jobs/render.h"
#include "vision/png.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;

ManifestRecord RecordOf(const PlannedJob& plan) {
  ManifestRecord record;
  record.key = plan.key;
  record.of = std::max<int64_t>(1, static_cast<int64_t>(plan.pictures.size()));
  record.index = plan.job.index;
  record.where = plan.job.where, record.custom_id = plan.job.custom_id;
  return record;
}

}  // namespace

void Renderer::Deliver(Live& live, size_t k, Result<DrawnPicture> drawn, const Request& request) {
  if (IsAbandoned() || (!drawn.ok() && Scheduler::IsCancelled(drawn.error()))) return;
  const Status written =
      drawn.ok() ? WritePicture(live, live.plan.pictures[k], *drawn, request) : drawn.error();
  if (!written.ok()) Fail(live, written.error());
  FinishOne(live);
}

// An error is the job's own; the folder's end everything.
Status Renderer::WritePicture(const Live& live, const PlannedPicture& picture, const DrawnPicture& drawn,
                              const Request& request) {
  const auto begun = Clock::now();
  PictureDetails details;
  details.settings = model_;
  details.settings.prompt = picture.prompt, details.settings.seed = picture.seed;
  details.settings.sampling = picture.sampling;
  details.settings.upscale = options_.defaults.upscale;
  details.format = NameOf(live.plan.format);
  details.drawing_seconds = std::chrono::duration<double>(begun - request.begun).count();

  Image image{model_.width, model_.height, ToRgb8(drawn.pixels.view())};
  if (details.settings.upscale > 1) image = Upscale(image, details.settings.upscale);
  BIFRONS_TRY(const auto bytes, EncodePicture(image, live.plan.format, FormatParameters(details.settings)));
  if (const auto error = folder_->WriteFile(picture.file, bytes)) {
    if (!error->folder) return error->error;
    Abandon(error->error);
    return {};
  }
  ManifestRecord record = RecordOf(live.plan);
  record.number = picture.number, record.seed = picture.seed;
  record.file = picture.file, record.bytes = static_cast<int64_t>(bytes.size());
  record.sha256 = Sha256::Hex(bytes);
  record.mtime_ns = folder_->TimeOf(picture.file);
  details.file_seconds = std::chrono::duration<double>(Clock::now() - begun).count();
  const std::string line = PictureLine(record, details);
  if (const Status recorded = folder_->Record(line); !recorded.ok()) {
    Abandon(recorded.error());
    return {};
  }
  const std::lock_guard lock(mutex_);
  summary_.progress.drawn++;
  listener_.OnPicture(folder_->PathOf(picture.file), line);
  return {};
}

void Renderer::Deliver(Live& live, Result<Answer> answer, uint64_t seed, const Sampling& sampling,
                       const Request& request) {
  const double seconds = std::chrono::duration<double>(Clock::now() - request.begun).count();
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
  const bool plot = !options_.defaults.plot.empty();
  if ((plot || options_.sheets) && live.plan.pictures.size() > 1) WriteSheet(live);
  if (options_.sheets && live.plan.pictures.size() == 1) {
    const PlannedPicture& picture = live.plan.pictures[0];
    const std::lock_guard lock(mutex_);
    singles_[live.plan.job.index] = {picture.file, picture.prompt, picture.seed, live.fresh};
  }
}

// At the end, as a sheet holds pictures that are finished in any order. One that shows nothing new stays.
void Renderer::WriteListSheets() {
  std::vector<SinglePicture> all;
  for (auto& [index, single] : singles_) all.push_back(std::move(single));
  const auto size = static_cast<size_t>(ListSheetPictures(options_.sheet_columns));
  const PictureFormat format = options_.defaults.format.value_or(PictureFormat::kPng);
  for (size_t first = 0; first < all.size() && all.size() > 1; first += size) {
    const auto some = std::span(all).subspan(first, std::min(size, all.size() - first));
    char name[64];
    std::snprintf(name, sizeof name, "contact_sheet%s_%03zu.%s", folder_->suffix().c_str(), first / size + 1,
                  NameOf(format));
    const std::string path = folder_->PathOf(name);
    std::error_code error;
    const bool news = std::any_of(some.begin(), some.end(), [](const SinglePicture& s) { return s.fresh; });
    if (!news && fs::exists(path, error)) continue;
    const auto sheet = MakeListSheet(some, options_.sheet_columns, format,
                                     [&](const std::string& picture) { return folder_->PathOf(picture); });
    const auto failed = sheet.ok() ? folder_->WriteFile(name, *sheet)
                                   : std::optional(OutputFolder::WriteError{sheet.error(), false});
    if (failed && failed->folder) return Abandon(failed->error);
    if (failed) {
      Fail({0, name, "", "", "", failed->error});
      continue;
    }
    const std::lock_guard lock(mutex_);
    summary_.sheets++;
    listener_.OnSheet(path);
  }
}

void Renderer::WriteBatchAnswer(Live& live) {
  const Job& job = live.plan.job;
  const auto now = static_cast<int64_t>(std::time(nullptr));
  if (job.answer) {
    const ManifestRecord& a = live.answer;
    return Keep(folder_->RecordBatchAnswer(ChatLine(job, now, job.model.empty() ? model_.model : job.model,
                                                    a.text, a.complete, a.prompt_tokens, a.tokens)));
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
  Keep(folder_->RecordBatchAnswer(ImagesLine(job, now, NameOf(live.plan.format), pictures)));
}

void Renderer::WriteSheet(Live& live) {
  const std::string file = SheetFile(live.plan, format_), path = folder_->PathOf(file);
  std::error_code error;
  if (fs::exists(path, error)) return;
  const auto sheet = MakeSheet(live.plan, options_.defaults.plot, options_.sheet_columns,
                               [&](const std::string& picture) { return folder_->PathOf(picture); });
  if (!sheet.ok()) return Fail(live, {sheet.error().kind, "its sheet: " + sheet.error().message});
  if (const auto failed = folder_->WriteFile(file, *sheet))
    return failed->folder ? Abandon(failed->error) : Fail(live, failed->error);
  const std::lock_guard lock(mutex_);
  summary_.sheets++;
  listener_.OnSheet(path);
}

void Renderer::Fail(Live& live, const Error& error) {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(live.failed, true)) return;
  }
  Fail(FailedOf(live.plan.job, live.plan.key, error));
}

void Renderer::Fail(const FailedJob& failed) {
  Keep(folder_->RecordFailure(failed));
  // An entry that is no job is a line of its own, even under the custom_id of a good one.
  if (format_ == JobFormat::kOpenAi && (failed.key.empty() || !folder_->IsAnswered(failed.custom_id)))
    Keep(folder_->RecordBatchAnswer(ErrorLine(failed.custom_id, failed.error)));
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
