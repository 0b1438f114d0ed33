// bifrons render: a list in, a folder of pictures out; what happens, told on standard output and error.
#include "src/jobs/render.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "src/base/available_memory.h"
#include "src/base/counted.h"
#include "src/base/name_sample.h"
#include "src/base/progress.h"
#include "src/base/stop.h"
#include "src/cli/answering.h"
#include "src/cli/commands.h"
#include "src/cli/drawn_size.h"
#include "src/cli/nearest.h"
#include "src/cli/signals.h"
#include "src/jobs/job_fields.h"
#include "src/jobs/list_parts.h"
#include "src/jobs/sheet.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

double Rate(double amount, double seconds) { return amount / std::max(seconds, 1e-9); }

// Tells drivers and people what happens as it happens.
class Reporter : public RenderListener {
 public:
  explicit Reporter(const RenderCommand& options) : options_(options), bar_("rendering", !options.quiet) {}

  void OnPicture(const std::string& path, const std::string& line) override {
    if (!options_.json) return Print(path);
    PrintEvent("picture", line);
  }
  void OnAnswer(const ManifestRecord& record, const std::string& line) override {
    if (options_.json) return PrintEvent("answer", line);
    Print(OneLine((record.custom_id.empty() ? record.where : record.custom_id) + ": " + record.text));
  }
  // Who sends jobs one by one waits for what becomes of each.
  void OnKept(const ManifestRecord& record) override {
    if (options_.json) PrintEvent("kept", KeptLine(record));
  }
  void OnFailed(const FailedJob& failed) override {
    bar_.Print("bifrons: " + OneLine(failed.where + ": " + failed.error.message));
    if (options_.json) PrintEvent("failed", FailedLine(failed));
  }
  void OnIgnored(const std::string& where, const std::string& setting) override {
    if (options_.quiet) return;
    bar_.Print(
        "bifrons: warning: " +
        OneLine(where + ": " + setting +
                " is passed over, here and where it comes again: the model draws a picture's tokens one "
                "by one, all of them"));
  }
  void OnSheet(const std::string& path) override {
    if (!options_.json) return Print(path);
    Print(JsonLine({{"event", "sheet"}, {"file", path}}));
  }
  void OnFinishing() override { AllowSecondsToEnd(kFinishingSeconds); }
  void OnProgress(const RenderProgress& p) override {
    const double drawn = static_cast<double>(p.drawn) + p.under_way;
    char note[120];
    std::snprintf(note, sizeof note, "%s, %.1f/s, %.0f tokens/s%s",
                  Counted(p.drawn + p.kept, "picture").c_str(), Rate(static_cast<double>(p.drawn), p.seconds),
                  Rate(p.image_tokens, p.seconds),
                  p.failed > 0 ? (", " + std::to_string(p.failed) + " failed").c_str() : "");
    // What is kept took no time, and would make the time left too short.
    const double left = p.expected ? static_cast<double>(*p.expected - p.kept) : 0;
    bar_.Update(drawn + static_cast<double>(p.answered + p.failed), left, note);
  }

  void Summarise(const RenderSummary& summary) {
    const RenderProgress& p = summary.progress;
    const double rate = Rate(static_cast<double>(p.drawn), p.seconds);
    const double tokens = Rate(static_cast<double>(summary.stats.image_tokens), p.seconds);
    if (options_.json) {
      Print(JsonLine({{"event", "summary"},
                      {"drawn", p.drawn},
                      {"answered", p.answered},
                      {"kept", p.kept},
                      {"failed", p.failed},
                      {"sheets", summary.sheets},
                      {"passed_over", summary.passed_over},
                      {"interrupted", summary.interrupted},
                      {"seconds", p.seconds},
                      {"pictures_per_second", rate},
                      {"image_tokens_per_second", tokens},
                      {"rows_per_step", summary.stats.rows_per_step()},
                      {"cache_bytes", summary.stats.most_cache_bytes},
                      {"memory_bytes", MostResidentMemory()}}));
    }
    if (options_.quiet) return;
    std::string line = std::to_string(p.drawn) + " drawn";
    if (p.drawn + p.answered + p.kept + p.failed == 0 && !summary.interrupted) {
      line += options_.render.shard.count == 1 ? " (the list has no job)"
                                               : " (this shard of the list has no job)";
    }
    if (p.answered > 0) line += ", " + std::to_string(p.answered) + " answered";
    if (p.kept > 0) line += ", " + std::to_string(p.kept) + " kept from before";
    if (p.failed > 0) line += ", " + std::to_string(p.failed) + " failed";
    if (summary.sheets > 0)
      line += ", " + std::to_string(summary.sheets) + (summary.sheets == 1 ? " sheet" : " sheets");
    if (summary.passed_over > 0)
      line += ", " + std::to_string(summary.passed_over) + (summary.passed_over == 1 ? " line" : " lines") +
              " passed over";
    char more[160];
    std::snprintf(more, sizeof more, "; %.1f s", p.seconds);
    line += more;
    if (p.drawn > 0) {
      std::snprintf(more, sizeof more, ", %.2f pictures/s, %.0f image tokens/s", rate, tokens);
      line += more;
    }
    bar_.Print(line);
    if (summary.others > 0)
      bar_.Print(std::to_string(summary.others) + (summary.others == 1 ? " result" : " results") +
                 " of other settings or of an earlier list left as " +
                 (summary.others == 1 ? "it was" : "they were"));
    if (!options_.verbose) return;
    const SchedulerStats& s = summary.stats;
    std::snprintf(more, sizeof more,
                  "%.1f rows per step, %.0f MB of caches, %.0f MB in all; prefill %.1f s, decode "
                  "%.1f s, VQ decoding %.1f s",
                  s.rows_per_step(), static_cast<double>(s.most_cache_bytes) / 1e6,
                  static_cast<double>(MostResidentMemory()) / 1e6, s.prefill_seconds, s.decode_seconds,
                  s.vq_seconds);
    bar_.Print(more);
  }

 private:
  // Whoever reads the lines is to have each at once.
  void Print(const std::string& line) {
    bar_.Hide();
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
  }
  void PrintEvent(const char* event, const std::string& line) {
    Print("{\"event\":\"" + std::string(event) + "\"," + line.substr(1));
  }

  const RenderCommand& options_;
  ProgressBar bar_;
};

std::string Told(const RenderProgress& p) {
  const int64_t done = p.drawn + p.answered + p.kept;
  return std::to_string(done) + (p.expected ? " of " + std::to_string(*p.expected) : "") + " done";
}

// People's tables have columns of their own, and some are misspelt.
void WarnOfColumns(const std::string& list, const std::vector<std::string>& ignored) {
  if (ignored.empty()) return;
  constexpr size_t kShown = 10;
  NameSample columns(kShown);
  for (const std::string& name : ignored) {
    const std::string nearest = Nearest(name, PictureFields::AllNames());
    columns.Add(name + (nearest.empty() ? "" : " (did you mean " + nearest + "?)"));
  }
  const std::string text = list + ": " + columns.Counted("column") +
                           (columns.count() == 1 ? " is ignored: " : " are ignored: ") + columns.ToString() +
                           "; the fields of a job are " + PictureFields::Names();
  std::fprintf(stderr, "bifrons: warning: %s\n", OneLine(text).c_str());
}

}  // namespace

Result<int> RunRender(const RenderCommand& options) {
  BIFRONS_TRY(auto reader, JobReader::Open(options.render.jobs, options.render.defaults.comments));
  if (const Status suited = CheckDefaults(options.render.defaults, reader->format(), options.render.names);
      !suited.ok())
    return UsageError("render: " + suited.error().message);
  // Told before a model is loaded.
  if (!options.render.image_root.empty())
    BIFRONS_RETURN_IF_ERROR(ImageFolder::Open(options.render.image_root));
  BIFRONS_RETURN_IF_ERROR(CheckDrawnSize("render", options.load, options.size));
  if (!options.quiet) {
    WarnOfColumns(options.render.jobs == "-" ? "standard input" : options.render.jobs,
                  reader->ignored_columns());
  }
  LoadOptions load = options.load;
  const std::optional<int> best_of = options.render.defaults.best_of;
  BIFRONS_TRY(load.parts, PartsForJobs(options.render.jobs, reader->format(), best_of));
  // Jobs that need what the model lacks fail one by one.
  load.skip_missing_parts = load.parts.understanding && load.parts.drawing && !(best_of.value_or(1) > 1);
  load.tell_device = options.verbose;
  load.hash = true;
  if (!options.render.defaults.plot.empty() || options.render.sheets) BIFRONS_RETURN_IF_ERROR(CheckFonts());
  BIFRONS_TRY(const std::unique_ptr<Janus> janus, Janus::Load(load));
  if (!options.shard_source.empty() && !options.quiet) {
    std::fprintf(stderr, "shard %s, by %s\n", options.render.shard.ToString().c_str(),
                 options.shard_source.c_str());
  }

  Reporter reporter(options);
  Renderer renderer(*janus, std::move(reader), options.render, reporter);
  const Status rendered = renderer.Run(StopRequested);
  const RenderSummary& summary = renderer.summary();
  if (summary.begun) reporter.Summarise(summary);
  if (!rendered.ok()) {
    Error error = rendered.error();
    if (error.kind == ErrorKind::kFailure && summary.begun) error.message += "; the same command continues";
    return error;
  }
  if (summary.interrupted)
    return Failure("interrupted, " + Told(summary.progress) + "; the same command continues");
  return summary.progress.failed > 0 ? static_cast<int>(ErrorKind::kBadData) : 0;
}

}  // namespace bifrons
