// bifrons caption: the same question about one image or a folder of thousands.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>

#include "src/base/atomic_file.h"
#include "src/base/progress.h"
#include "src/cli/answering.h"
#include "src/cli/commands.h"
#include "src/engine/caption_files.h"
#include "src/model/memory_plan.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

// Above this many rows the products are compute-bound and a larger batch only costs memory.
constexpr int64_t kLargestBatch = 16;

using Clock = std::chrono::steady_clock;

// One run: images in, results to where the flags say.
class CaptionRun {
 public:
  CaptionRun(const CaptionOptions& options, std::string question)
      : options_(options), question_(std::move(question)), bar_("captioning", !options.quiet) {}

  Status Prepare();
  bool nothing_to_do() const { return jobs_.empty(); }
  Status Run(Janus& janus);
  /// Says what was done where results go to files, or images failed; the exit code.
  int Summarise(Janus* janus);

 private:
  bool to_files() const { return options_.write_txt || !options_.jsonl.empty(); }
  bool prints_as_it_comes() const { return !to_files() && !options_.json && jobs_.size() == 1; }
  void Fail(size_t job, const Error& error);
  Status Deliver(const Answer& answer);
  void Print(size_t job, std::string line);
  int64_t BatchSize(Janus& janus, const AnswerRequest& request) const;

  const CaptionOptions& options_;
  const std::string question_;
  std::vector<CaptionJob> jobs_;
  size_t kept_ = 0, done_ = 0, failed_ = 0;  // images
  std::optional<JsonLinesFile> results_;
  ProgressBar bar_;
  std::map<size_t, std::string> waiting_;  // lines whose predecessors are still being answered
  size_t next_line_ = 0;
  int64_t tokens_ = 0;  // of all answers
  double image_seconds_ = 0;
  Clock::time_point start_ = Clock::now();
};

Status CaptionRun::Prepare() {
  BIFRONS_TRY(const auto sources, FindImages(options_.inputs, options_.recursive));
  if (options_.write_txt) {
    BIFRONS_TRY(jobs_, PlaceTexts(sources));
  } else {
    for (const std::string& source : sources) jobs_.push_back({source, ""});
  }
  if (!options_.jsonl.empty()) {
    BIFRONS_TRY(JsonLinesFile file, JsonLinesFile::Open(options_.jsonl, options_.overwrite));
    results_.emplace(std::move(file));
  }
  const size_t all = jobs_.size();
  std::erase_if(jobs_, [&](const CaptionJob& job) {
    std::error_code error;
    if (results_) return results_->Holds(ReplaceInvalidUtf8(job.source), question_);
    return options_.write_txt && !options_.overwrite && std::filesystem::exists(job.txt, error);
  });
  kept_ = all - jobs_.size();
  return {};
}

void CaptionRun::Fail(size_t job, const Error& error) {
  bar_.Print("bifrons: " + OneLine(error.message));
  failed_++;
  Print(job, "");
}

// Lines go out in the order of the images, whatever order they are answered in.
void CaptionRun::Print(size_t job, std::string line) {
  waiting_.emplace(job, std::move(line));
  for (auto it = waiting_.begin(); it != waiting_.end() && it->first == next_line_; next_line_++) {
    if (!it->second.empty()) std::printf("%s\n", it->second.c_str());
    it = waiting_.erase(it);
  }
  std::fflush(stdout);
}

Status CaptionRun::Deliver(const Answer& answer) {
  const auto index = static_cast<size_t>(answer.id);
  const CaptionJob& job = jobs_[index];
  done_++;
  tokens_ += static_cast<int64_t>(answer.tokens.size());
  if (options_.write_txt) {
    const std::string text = answer.text + "\n";
    return WriteFileAtomically(job.txt, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  if (results_ || options_.json) {
    nlohmann::json line = ToJson(answer);
    line["file"] = results_ ? ReplaceInvalidUtf8(job.source) : ShownSource(job.source);
    line["question"] = question_;
    if (results_) return results_->Append(JsonLine(line));
    Print(index, JsonLine(line));
  } else if (prints_as_it_comes()) {
    std::fputs("\n", stdout);
  } else {
    Print(index, ShownSource(job.source) + ": " + answer.text);
  }
  return {};
}

int64_t CaptionRun::BatchSize(Janus& janus, const AnswerRequest& request) const {
  if (options_.batch > 0) return options_.batch;
  const auto prompt = static_cast<int64_t>(janus.EncodeTurns(request.turns).ids.size());
  const size_t bytes =
      KvCache::Bytes(janus.config().llama, janus.kv_type(), prompt + options_.answer.max_tokens);
  const auto fit = static_cast<int64_t>(AvailableMemory() / 2 / bytes);
  return std::clamp<int64_t>(fit, 1, kLargestBatch);
}

Status CaptionRun::Run(Janus& janus) {
  AnswerRequest request = RequestFrom(options_.answer);
  request.turns = {{1, question_, ""}};
  BIFRONS_RETURN_IF_ERROR(CheckContext(janus, request.turns));
  const int64_t limit = BatchSize(janus, request);
  const auto on_text = [&](int64_t, const std::string& text) {
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
  };
  const TextCallback stream = prints_as_it_comes() ? TextCallback(on_text) : nullptr;

  start_ = Clock::now();
  AnswerBatch batch(janus);
  for (size_t next = 0; next < jobs_.size() || batch.size() > 0;) {
    for (; batch.size() < limit && next < jobs_.size() && !interrupted; next++) {
      const auto began = Clock::now();
      auto features = LoadAndLookAt(janus, jobs_[next].source, options_.answer.image);
      image_seconds_ += std::chrono::duration<double>(Clock::now() - began).count();
      if (!features.ok()) {
        Fail(next, features.error());
        continue;
      }
      request.images = {std::move(*features)};
      BIFRONS_RETURN_IF_ERROR(batch.Add(static_cast<int64_t>(next), request));
    }
    if (interrupted) {
      return Failure("interrupted after " + std::to_string(done_) + " of " + std::to_string(jobs_.size()) +
                     " images" + (to_files() ? "; the same command continues" : ""));
    }
    if (batch.size() == 0) continue;
    for (const Answer& answer : batch.Step(stream)) BIFRONS_RETURN_IF_ERROR(Deliver(answer));
    bar_.Update(static_cast<double>(done_ + failed_), static_cast<double>(jobs_.size()),
                std::to_string(done_) + " of " + std::to_string(jobs_.size()));
  }
  return {};
}

int CaptionRun::Summarise(Janus* janus) {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  const bool asked_of_many = kept_ + done_ + failed_ > 1;
  if (!options_.quiet && (to_files() || (failed_ > 0 && asked_of_many))) {
    std::string line = std::to_string(done_) + " captioned";
    if (kept_ > 0) line += ", " + std::to_string(kept_) + " kept from before";
    if (failed_ > 0) line += ", " + std::to_string(failed_) + " failed";
    bar_.Print(line);
  }
  if (options_.verbose && janus && done_ > 0) {
    char line[200];
    std::snprintf(line, sizeof line,
                  "%.2f s (%.2f images/s, %.1f tokens/s), of which reading and looking at images %.2f s; %s, "
                  "%s, %d threads",
                  seconds, static_cast<double>(done_) / seconds, static_cast<double>(tokens_) / seconds,
                  image_seconds_, janus->ops().isa, NameOf(janus->compute()), janus->pool().threads());
    bar_.Print(line);
  }
  return failed_ > 0 ? static_cast<int>(ErrorKind::kBadData) : 0;
}

}  // namespace

Result<int> RunCaption(const CaptionOptions& options) {
  CaptionRun run(options, ReplaceInvalidUtf8(options.question));
  BIFRONS_RETURN_IF_ERROR(run.Prepare());
  if (run.nothing_to_do()) return run.Summarise(nullptr);
  LoadOptions load = options.answer.load;
  load.parts = kUnderstandingParts;
  BIFRONS_TRY(const std::unique_ptr<Janus> janus, Janus::Load(load));
  BIFRONS_RETURN_IF_ERROR(run.Run(*janus));
  return run.Summarise(janus.get());
}

}  // namespace bifrons
