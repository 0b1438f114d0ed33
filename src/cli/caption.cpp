// bifrons caption: the same question about one image or a folder of thousands.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>

#include "src/base/atomic_file.h"
#include "src/base/counted.h"
#include "src/base/progress.h"
#include "src/base/seconds_since.h"
#include "src/base/stop.h"
#include "src/cli/answering.h"
#include "src/cli/commands.h"
#include "src/engine/caption_files.h"
#include "src/engine/scheduler.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

using Clock = std::chrono::steady_clock;

// One run: images in, results to where the flags say.
class CaptionRun {
 public:
  CaptionRun(const CaptionOptions& options, std::string question)
      : options_(options), question_(std::move(question)), bar_("captioning", !options.quiet) {}

  Status Prepare();
  /// Leaves no empty file behind a run that could not begin.
  void Withdraw() const {
    if (results_) results_->RemoveIfNew();
  }
  bool nothing_to_do() const { return jobs_.empty(); }
  Status Run(Janus& janus);
  /// Says what was done where results go to files, or images failed; the exit code.
  int Summarise(Janus* janus);

 private:
  bool to_files() const { return options_.write_txt || !options_.jsonl.empty(); }
  bool prints_as_it_comes() const { return !to_files() && !options_.json && jobs_.size() == 1; }
  void Report(const std::string& reason);
  void Fail(size_t job, const Error& error);
  Status Deliver(size_t index, const Answer& answer);
  void Print(size_t job, std::string line);

  const CaptionOptions& options_;
  const std::string question_;
  std::vector<CaptionJob> jobs_;
  size_t kept_ = 0, done_ = 0, failed_ = 0;  // images
  size_t not_tried_ = 0;                     // what cannot be reached, or has no place for its caption
  std::optional<JsonLinesFile> results_;
  ProgressBar bar_;
  std::map<size_t, std::string> waiting_;  // lines whose predecessors are still being answered
  size_t next_line_ = 0;
  int64_t tokens_ = 0;  // of all answers
  double image_seconds_ = 0;
  Clock::time_point start_ = Clock::now();
};

Status CaptionRun::Prepare() {
  BIFRONS_TRY(const FoundImages found, FindImages(options_.inputs, options_.recursive));
  for (const std::string& reason : found.unseen) Report(reason);
  not_tried_ = found.unseen.size();
  if (options_.write_txt) {
    BIFRONS_TRY(jobs_, PlaceTexts(found.images));
  } else {
    for (const std::string& source : found.images) jobs_.push_back({source, ""});
  }
  if (!options_.jsonl.empty()) {
    BIFRONS_TRY(JsonLinesFile file, JsonLinesFile::Open(options_.jsonl, options_.overwrite));
    results_.emplace(std::move(file));
  }
  not_tried_ += std::erase_if(jobs_, [&](const CaptionJob& job) {
    if (!job.obstacle.empty()) Report(job.obstacle);
    return !job.obstacle.empty();
  });
  const size_t all = jobs_.size();
  std::erase_if(jobs_, [&](const CaptionJob& job) {
    std::error_code error;
    if (results_) return results_->Holds(ReplaceInvalidUtf8(job.source), question_);
    return options_.write_txt && !options_.overwrite && std::filesystem::exists(job.txt, error);
  });
  kept_ = all - jobs_.size();
  return {};
}

void CaptionRun::Report(const std::string& reason) { bar_.Print("bifrons: " + OneLine(reason)); }

void CaptionRun::Fail(size_t job, const Error& error) {
  Report(error.message);
  failed_++;
  Print(job, "");
}

// Lines go out in the order of the images, whatever order they are answered in.
void CaptionRun::Print(size_t job, std::string line) {
  waiting_.emplace(job, std::move(line));
  for (auto it = waiting_.begin(); it != waiting_.end() && it->first == next_line_; next_line_++) {
    if (!it->second.empty()) it->second += '\n';
    std::fwrite(it->second.data(), 1, it->second.size(), stdout);
    it = waiting_.erase(it);
  }
  std::fflush(stdout);
}

Status CaptionRun::Deliver(size_t index, const Answer& answer) {
  const CaptionJob& job = jobs_[index];
  tokens_ += static_cast<int64_t>(answer.tokens.size());
  if (options_.write_txt) {
    auto file = AtomicFile::Create(job.txt);
    if (!file.ok()) {
      Fail(index, file.error());  // this place alone, perhaps
      return {};
    }
    // Now only the disk can be at fault, which the next caption would not fare better with.
    const std::string text = answer.text + "\n";
    BIFRONS_RETURN_IF_ERROR(file->Write({reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
    BIFRONS_RETURN_IF_ERROR(file->Commit());
    done_++;
    return {};
  }
  done_++;
  if (results_ || options_.json) {
    nlohmann::json line = ToJson(answer);
    line["file"] = results_ ? ReplaceInvalidUtf8(job.source) : ShownSource(job.source);
    line["question"] = question_;
    if (results_) return results_->Append(JsonLine(line));
    Print(index, JsonLine(line));
  } else if (prints_as_it_comes()) {
    std::fputs("\n", stdout);
    std::fflush(stdout);  // before what -v tells on standard error
  } else {
    Print(index, ShownSource(job.source) + ": " + answer.text);
  }
  return {};
}

Status CaptionRun::Run(Janus& janus) {
  AnswerRequest request = RequestFrom(options_.answer);
  request.turns = {{1, question_, ""}};
  BIFRONS_RETURN_IF_ERROR(CheckContext(janus, request.turns));
  SchedulerOptions scheduling;
  if (options_.batch > 0) scheduling.answers = options_.batch;

  std::mutex mutex;
  std::condition_variable news;
  std::deque<std::pair<size_t, Result<Answer>>> done;  // and not delivered yet
  start_ = Clock::now();
  Scheduler scheduler(janus, scheduling);
  const auto submit = [&](size_t job) -> Status {
    request.look = [this, &janus, job]() -> Result<std::vector<ImageFeatures>> {
      return LoadAndLookAtAll(janus, {jobs_[job].source}, options_.answer.image);
    };
    AnswerHandlers handlers;
    if (prints_as_it_comes()) {
      handlers.on_text = [](const std::string& text) {
        std::fwrite(text.data(), 1, text.size(), stdout);
        std::fflush(stdout);
      };
    }
    handlers.on_done = [&, job](Result<Answer> answer) {
      const std::lock_guard lock(mutex);
      done.emplace_back(job, std::move(answer));
      news.notify_all();
    };
    const auto id = scheduler.Submit(request, std::move(handlers));
    return id.ok() ? Status() : id.error();
  };

  // Far enough ahead that the scheduler always has the next.
  const auto ahead = static_cast<size_t>(2 * scheduler.options().answers);
  for (size_t next = 0; done_ + failed_ < jobs_.size();) {
    for (; next < std::min(jobs_.size(), done_ + failed_ + ahead); next++)
      BIFRONS_RETURN_IF_ERROR(submit(next));
    std::unique_lock lock(mutex);
    news.wait_for(lock, std::chrono::milliseconds(100), [&] { return !done.empty(); });
    auto some = std::exchange(done, {});
    lock.unlock();
    for (const auto& [job, answer] : some) {
      if (answer.ok()) {
        BIFRONS_RETURN_IF_ERROR(Deliver(job, *answer));
      } else if (!StopRequested()) {  // which may be why
        Fail(job, answer.error());
      }
    }
    if (StopRequested()) {
      return Failure("interrupted after " + std::to_string(done_) + " of " + std::to_string(jobs_.size()) +
                     " images" + (to_files() ? "; the same command continues" : ""));
    }
    bar_.Update(static_cast<double>(done_ + failed_), static_cast<double>(jobs_.size()),
                std::to_string(done_) + " of " + std::to_string(jobs_.size()));
  }
  image_seconds_ = scheduler.stats().vision_seconds;
  return {};
}

int CaptionRun::Summarise(Janus* janus) {
  const double seconds = SecondsSince(start_);
  const size_t failed = failed_ + not_tried_;
  const bool asked_of_many = kept_ + done_ + failed > 1;
  if (!options_.quiet && (to_files() || (failed > 0 && asked_of_many))) {
    std::string line = std::to_string(done_) + " captioned";
    if (kept_ > 0) line += ", " + std::to_string(kept_) + " kept from before";
    if (failed > 0) line += ", " + std::to_string(failed) + " failed";
    if (kept_ > 0 && options_.write_txt)
      line +=
          "; a text does not say what was asked, and is kept whatever it answers (--overwrite replaces it)";
    bar_.Print(line);
  }
  if (options_.verbose && janus && done_ > 0) {
    char line[200];
    std::snprintf(line, sizeof line,
                  "%.2f s (%.2f images/s, %.1f tokens/s), of which reading and looking at images %.2f s; %s, "
                  "%s, %s",
                  seconds, static_cast<double>(done_) / seconds, static_cast<double>(tokens_) / seconds,
                  image_seconds_, janus->device().isa().c_str(), NameOf(janus->compute()),
                  Counted(janus->device().threads(), "thread").c_str());
    bar_.Print(line);
  }
  return failed > 0 ? static_cast<int>(ErrorKind::kBadData) : 0;
}

}  // namespace

Result<int> RunCaption(const CaptionOptions& options) {
  CaptionRun run(options, ReplaceInvalidUtf8(options.question));
  BIFRONS_RETURN_IF_ERROR(run.Prepare());
  if (run.nothing_to_do()) return run.Summarise(nullptr);
  LoadOptions load = options.answer.load;
  load.parts = kUnderstandingParts;
  load.tell_device = options.verbose;
  const auto loaded = Janus::Load(load);
  if (!loaded.ok()) {
    run.Withdraw();
    return loaded.error();
  }
  const std::unique_ptr<Janus>& janus = *loaded;
  BIFRONS_RETURN_IF_ERROR(run.Run(*janus));
  return run.Summarise(janus.get());
}

}  // namespace bifrons
