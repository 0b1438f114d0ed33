// bifrons generate: a job from the command line, the model, the drawing.
#include <algorithm>
#include <cstdio>

#include "src/base/counted.h"
#include "src/base/progress.h"
#include "src/base/stop.h"
#include "src/cli/commands.h"
#include "src/cli/drawing_job.h"
#include "src/cli/drawn_size.h"
#include "src/cli/picture_output.h"
#include "src/cli/preview.h"
#include "src/cli/signals.h"
#include "src/engine/scheduler.h"

namespace bifrons {
namespace {

void PrintSpeed(Janus& janus, const SchedulerStats& stats) {
  const double bandwidth = janus.device().MeasureBandwidth();
  const double rate = static_cast<double>(stats.bytes_read) / std::max(stats.decode_seconds, 1e-9);
  // Weights that the caches hold come faster than memory gives them.
  std::fprintf(
      stderr,
      "prefill %.2f s (%.0f tokens/s), decode %.2f s (%.1f image tokens/s, %.1f GB/s = %.0f %% of the "
      "measured %.1f GB/s%s), "
      "VQ decoding %.2f s; %s, %s, %s\n",
      stats.prefill_seconds, static_cast<double>(stats.prompt_tokens) / std::max(stats.prefill_seconds, 1e-9),
      stats.decode_seconds, static_cast<double>(stats.image_tokens) / std::max(stats.decode_seconds, 1e-9),
      rate / 1e9, 100 * rate / bandwidth, bandwidth / 1e9,
      rate > bandwidth ? ", from the caches in part" : "", stats.vq_seconds, janus.device().isa().c_str(),
      NameOf(janus.compute()), Counted(janus.device().threads(), "thread").c_str());
}

// What is worth knowing before the drawing begins. After all checks, so that an error stays the only line.
void TellBefore(const GenerateOptions& options, const DrawingJob& job, const PictureSettings& model) {
  if (job.redrawn && !job.library.empty() && model.convolutions != job.library) {
    std::fprintf(stderr, "bifrons: warning: %s has convolutions by %s, and here is %s: pixels may differ\n",
                 options.from.c_str(), job.library.c_str(), model.convolutions.c_str());
  }
  const auto is_word = [](const std::string& prompt) { return prompt.find_first_of(" \t\n") == prompt.npos; };
  if (options.prompts.size() > 1 && !options.quiet &&
      std::all_of(options.prompts.begin(), options.prompts.end(), is_word)) {
    std::fprintf(stderr, "%zu prompts of a word each: a prompt of several words needs quotes\n",
                 options.prompts.size());
  }
  // Its own seed is the chosen candidate's, so that the same again is the same picture.
  if (!job.redrawn && !options.seed && !job.choice.scores.empty() && !options.quiet) {
    std::fprintf(stderr,
                 "%s is the best of %zu from seed %llu on; this draws from its own seed %llu on (--best-of "
                 "%zu --seed %llu chooses again)\n",
                 options.from.c_str(), job.choice.scores.size(),
                 static_cast<unsigned long long>(job.choice.first_seed),
                 static_cast<unsigned long long>(job.requests[0].seed), job.choice.scores.size(),
                 static_cast<unsigned long long>(job.choice.first_seed));
  }
  if (options.from.empty() && !options.seed && !options.quiet)
    std::fprintf(stderr, "seed %llu\n", static_cast<unsigned long long>(job.requests[0].seed));
}

}  // namespace

Result<int> RunGenerate(const GenerateOptions& options) {
  BIFRONS_TRY(DrawingJob job, BeginDrawing(options));
  const size_t prompts = options.from.empty() ? options.prompts.size() : 1;
  BIFRONS_TRY(PictureOutput output,
              PictureOutput::Begin(options, prompts * static_cast<size_t>(options.images)));
  BIFRONS_RETURN_IF_ERROR(CheckDrawnSize("generate", job.load, options.size));
  BIFRONS_TRY(const std::unique_ptr<Janus> janus, Janus::Load(job.load));
  PictureSettings model = DescribeModel(*janus);
  BIFRONS_RETURN_IF_ERROR(AddRequests(options, *janus, &job));
  TellBefore(options, job, model);

  const Preview preview(options.preview, options.quiet);
  ProgressBar bar("drawing", !options.quiet);
  SchedulerOptions scheduling;
  if (options.batch > 0) scheduling.pictures = options.batch;
  Scheduler scheduler(*janus, scheduling);
  const auto count = static_cast<double>(job.requests.size());
  const auto progress = [&](const DrawProgress& p) {
    bar.Update(p.share() * count, count,
               std::to_string(p.pictures) + " of " + std::to_string(p.all_pictures));
    if (!StopRequested()) return true;
    if (p.complete > 0) AllowSecondsToEnd(kFinishingSeconds);
    return false;
  };
  const auto take = [&](size_t i, DrawnPicture picture) -> Status {
    BIFRONS_TRY(model.model_hash, janus->source().Hash());
    bar.Hide();
    return output.Write(i, job, model, std::move(picture), preview);
  };
  BIFRONS_RETURN_IF_ERROR(DrawEach(scheduler, job.requests, progress, take, kFinishingSeconds - 2));
  BIFRONS_RETURN_IF_ERROR(output.WriteCodes());
  if (options.verbose) PrintSpeed(*janus, scheduler.stats());
  return 0;
}

}  // namespace bifrons
