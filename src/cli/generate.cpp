// bifrons generate: requests from flags or from a picture, batches, files.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <random>

#include "src/base/npy.h"
#include "src/base/progress.h"
#include "src/base/shortest.h"
#include "src/base/stop.h"
#include "src/cli/answering.h"
#include "src/cli/commands.h"
#include "src/cli/drawn_files.h"
#include "src/cli/drawn_size.h"
#include "src/cli/preview.h"
#include "src/cli/signals.h"
#include "src/engine/draw.h"
#include "src/engine/judge.h"
#include "src/engine/metadata.h"
#include "src/engine/scheduler.h"
#include "src/jobs/picture_file.h"
#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

struct DrawingJob {
  LoadOptions load;
  std::vector<DrawRequest> requests;
  std::string expected_hash;  // of the model a --from picture was drawn with; "" otherwise
  std::string library;        // that made a --from picture's convolutions, if it is to make them again
  Choice choice;              // how a --from picture was chosen
  // As the --from picture was resampled:
  int upscale = 1;
  int64_t resized_width = 0, resized_height = 0;
};

// The best candidate so far for one picture of the output.
struct Best {
  Image image;
  std::vector<int32_t> codes;
  DrawRequest request;
  Choice choice;
};

Result<PictureSettings> ReadSettings(const std::string& picture) {
  BIFRONS_TRY(const std::string text, ReadPictureParameters(picture));
  auto settings = ParseParameters(text);
  if (!settings.ok()) return DataError(picture + ": " + settings.error().message);
  return settings;
}

// The recorded settings, where no flag overrides them.
Result<DrawingJob> JobFromPicture(const GenerateOptions& options) {
  BIFRONS_TRY(const PictureSettings settings, ReadSettings(options.from));
  DrawingJob job;
  job.load = options.load;
  job.expected_hash = settings.model_hash;
  job.choice = settings.choice;
  job.upscale = settings.upscale;
  job.resized_width = settings.resized_width, job.resized_height = settings.resized_height;
  if (job.load.model.empty() && settings.model.starts_with("random:")) job.load.model = settings.model;
  // An instruction set by itself asks for the cpu.
  if (job.load.device == kAutoDevice && job.load.isa.empty()) job.load.device = settings.backend;
  if (!settings.convolutions.empty() && !job.load.convolutions && job.load.device.starts_with("cuda")) {
    job.load.convolutions = Convolutions::kCudnn;
    job.library = settings.convolutions;
  }
  if (job.load.device == "cpu" && settings.backend == "cpu" && job.load.isa.empty())
    job.load.isa = settings.isa;
  if (!job.load.compute)
    job.load.compute = settings.compute == NameOf(DType::kBF16) ? DType::kBF16 : DType::kF32;
  if (job.load.chat_template == "auto") job.load.chat_template = settings.chat_template;
  job.requests.push_back({settings.prompt, settings.seed, settings.sampling});
  return job;
}

void ApplySampling(const GenerateOptions& options, Sampling* sampling) {
  if (options.guidance) sampling->guidance = *options.guidance;
  if (options.temperature) sampling->temperature = *options.temperature;
  if (options.top_k) sampling->top_k = *options.top_k;
  if (options.top_p) sampling->top_p = *options.top_p;
  if (options.min_p) sampling->min_p = *options.min_p;
}

void PrintSpeed(Janus& janus, const SchedulerStats& stats) {
  const double bandwidth = janus.device().MeasureBandwidth();
  const double rate = static_cast<double>(stats.bytes_read) / std::max(stats.decode_seconds, 1e-9);
  std::fprintf(
      stderr,
      "prefill %.2f s (%.0f tokens/s), decode %.2f s (%.1f image tokens/s, %.1f GB/s = %.0f %% of the "
      "measured %.1f GB/s), "
      "VQ decoding %.2f s; %s, %s, %d threads\n",
      stats.prefill_seconds, static_cast<double>(stats.prompt_tokens) / std::max(stats.prefill_seconds, 1e-9),
      stats.decode_seconds, static_cast<double>(stats.image_tokens) / std::max(stats.decode_seconds, 1e-9),
      rate / 1e9, 100 * rate / bandwidth, bandwidth / 1e9, stats.vq_seconds, janus.device().isa().c_str(),
      NameOf(janus.compute()), janus.device().threads());
}

Status WriteCodes(const std::string& path, const std::vector<std::vector<int32_t>>& codes) {
  const auto n = static_cast<int64_t>(codes.size()), tokens = static_cast<int64_t>(codes[0].size());
  Tensor all(DType::kI32, n == 1 ? Shape{tokens} : Shape{n, tokens});
  int32_t* out = all.as<int32_t>();
  for (const auto& row : codes) out = std::copy(row.begin(), row.end(), out);
  return WriteNpy(path, all.view());
}

bool Overrides(const GenerateOptions& o) {
  return o.seed || o.guidance || o.temperature || o.top_k || o.top_p || o.min_p;
}

// Judges a candidate (when there are others) and keeps it if it is the best so far; the earliest of equals
// stays.
Status Consider(Janus& janus, Scheduler& scheduler, const DrawRequest& request, const DrawnPicture& picture,
                bool judge, Best* best) {
  bool better = best->image.rgb.empty();
  if (judge) {
    Result<double> judged = 0.0;
    scheduler.RunBetweenSteps([&] { judged = JudgePicture(janus, picture.image, request.prompt); });
    BIFRONS_TRY(const double score, judged);
    std::vector<float>& scores = best->choice.scores;
    if (scores.empty()) best->choice.first_seed = request.seed;
    better = scores.empty() || static_cast<float>(score) > *std::max_element(scores.begin(), scores.end());
    scores.push_back(static_cast<float>(score));
  }
  if (better) best->image = picture.image, best->codes = picture.codes, best->request = request;
  return {};
}

// What a picture says about itself (metadata.h), as the manifests of render name it.
nlohmann::json ToJson(const std::string& file, PictureFormat format, const PictureSettings& s) {
  nlohmann::json line = {{"file", file},
                         {"prompt", s.prompt},
                         {"seed", s.seed},
                         {"guidance", Shortest(s.sampling.guidance)},
                         {"temperature", Shortest(s.sampling.temperature)},
                         {"top_k", s.sampling.top_k},
                         {"top_p", Shortest(s.sampling.top_p)},
                         {"min_p", Shortest(s.sampling.min_p)},
                         {"width", s.file_width()},
                         {"height", s.file_height()},
                         {"format", NameOf(format)},
                         {"drawn_width", s.width},
                         {"drawn_height", s.height},
                         {"upscale", s.upscale},
                         {"image_tokens", s.steps},
                         {"model", s.model},
                         {"model_hash", s.model_hash},
                         {"template", s.chat_template},
                         {"compute", s.compute},
                         {"kv", s.kv_type},
                         {"device", s.backend},
                         {"isa", s.isa},
                         {"convolutions", s.convolutions.empty() ? "own" : s.convolutions},
                         {"version", s.version}};
  if (!s.choice.scores.empty()) {
    line["scores"] = s.choice.scores;
    line["first_seed"] = s.choice.first_seed;
  }
  return line;
}

}  // namespace

Result<int> RunGenerate(const GenerateOptions& options) {
  DrawingJob job;
  job.load = options.load;
  if (!options.from.empty()) {
    BIFRONS_TRY(job, JobFromPicture(options));
  }
  const size_t count =
      (options.from.empty() ? options.prompts.size() : 1) * static_cast<size_t>(options.images);
  BIFRONS_TRY(DrawnFiles files, DrawnFiles::Begin(options, count));
  if (!options.codes_out.empty()) {
    BIFRONS_TRY(const OutputFile claimed, OutputFile::Claim(options.codes_out, options.force));
    BIFRONS_RETURN_IF_ERROR(files.CheckAreNot(claimed));
  }
  BIFRONS_RETURN_IF_ERROR(CheckDrawnSize("generate", job.load, options.size));

  job.load.parts.understanding = options.best_of > 1;  // the judge
  job.load.tell_device = options.verbose;
  BIFRONS_TRY(const std::unique_ptr<Janus> janus, Janus::Load(job.load));
  BIFRONS_TRY(PictureSettings settings, DescribeModel(*janus));
  if (!job.expected_hash.empty() && settings.model_hash != job.expected_hash) {
    return UsageError(options.from + ": was drawn with another model (hash " +
                      job.expected_hash.substr(0, 10) + "…) than " + settings.model + " (" +
                      settings.model_hash.substr(0, 10) + "…); name that model with --model");
  }
  if (options.from.empty()) {
    Sampling sampling;
    sampling.guidance = janus->config().guidance_default;
    const uint64_t seed =
        options.seed ? static_cast<uint64_t>(*options.seed) : std::random_device{}() & 0x7FFFFFFF;
    for (const std::string& prompt : options.prompts)
      job.requests.push_back({ReplaceInvalidUtf8(prompt), seed, sampling});
  } else if (options.seed) {
    job.requests[0].seed = static_cast<uint64_t>(*options.seed);
  }
  const auto best_of = static_cast<size_t>(options.best_of);
  std::vector<DrawRequest> requests;  // candidates of one picture stand together
  for (DrawRequest& request : job.requests) {
    ApplySampling(options, &request.sampling);
    BIFRONS_RETURN_IF_ERROR(CheckPrompt(*janus, request.prompt));
    for (int k = 0; k < options.images * options.best_of; k++) {
      requests.push_back(request);
      requests.back().seed += static_cast<uint64_t>(k);
    }
  }
  // Whoever changes a setting draws another picture than the chosen one.
  const bool redrawn = !options.from.empty() && best_of == 1 && options.images == 1 && !Overrides(options);

  // Last of all checks, so that an error stays the only line.
  if (redrawn && !job.library.empty() && settings.convolutions != job.library) {
    std::fprintf(stderr, "bifrons: warning: %s has convolutions by %s, and here is %s: pixels may differ\n",
                 options.from.c_str(), job.library.c_str(), settings.convolutions.c_str());
  }
  if (options.from.empty() && !options.seed && !options.quiet) {
    std::fprintf(stderr, "seed %llu\n", static_cast<unsigned long long>(requests[0].seed));
  }

  const Preview preview(options.preview, options.quiet);
  ProgressBar bar("drawing", !options.quiet);
  SchedulerOptions scheduling;
  if (options.batch > 0) scheduling.pictures = options.batch;
  Scheduler scheduler(*janus, scheduling);
  std::vector<std::vector<int32_t>> codes;
  Best best;
  const auto progress = [&](const DrawProgress& p) {
    bar.Update(p.share() * static_cast<double>(requests.size()), static_cast<double>(requests.size()),
               std::to_string(p.pictures) + " of " + std::to_string(p.all_pictures));
    if (!StopRequested()) return true;
    if (p.complete > 0) AllowSecondsToEnd(kFinishingSeconds);
    return false;
  };
  const auto take = [&](size_t i, const DrawnPicture& picture) -> Status {
    BIFRONS_RETURN_IF_ERROR(Consider(*janus, scheduler, requests[i], picture, best_of > 1, &best));
    if (i % best_of + 1 < best_of) return {};
    settings.prompt = best.request.prompt, settings.seed = best.request.seed;
    settings.sampling = best.request.sampling;
    settings.choice = redrawn ? job.choice : best.choice;
    settings.upscale = job.upscale;
    settings.resized_width = job.resized_width, settings.resized_height = job.resized_height;
    const Image image = Resampled(std::move(best.image), settings);
    BIFRONS_TRY(const auto bytes, EncodePicture(image, files.format(), FormatParameters(settings)));
    BIFRONS_TRY(const std::string file, files.Write(i / best_of, bytes));
    if (!options.codes_out.empty()) codes.push_back(best.codes);
    bar.Hide();
    preview.Show(image);
    if (!files.piped()) {
      std::printf("%s\n",
                  options.json ? JsonLine(ToJson(file, files.format(), settings)).c_str() : file.c_str());
      std::fflush(stdout);
    }
    best = {};
    return {};
  };
  BIFRONS_RETURN_IF_ERROR(DrawEach(scheduler, requests, progress, take, kFinishingSeconds - 2));
  if (!options.codes_out.empty()) BIFRONS_RETURN_IF_ERROR(WriteCodes(options.codes_out, codes));
  if (options.verbose) PrintSpeed(*janus, scheduler.stats());
  return 0;
}

}  // namespace bifrons
