#include "src/cli/drawing_job.h"

#include <random>

#include "src/jobs/picture_file.h"
#include "src/model/memory_plan.h"
#include "src/model/model_path.h"
#include "src/model/quantized_weights.h"
#include "src/model/text/utf8.h"
#include "src/model/weight_source.h"

namespace bifrons {
namespace {

Result<PictureSettings> ReadSettings(const std::string& picture) {
  BIFRONS_TRY(const std::string text, ReadPictureParameters(picture));
  auto settings = ParseParameters(text);
  if (!settings.ok()) return DataError(picture + ": " + settings.error().message);
  return settings;
}

bool Overrides(const GenerateOptions& o) {
  return o.seed || o.guidance || o.temperature || o.top_k || o.top_p || o.min_p;
}

// The caches' type is the picture's, and has suited the model that drew it: the name of another model is what
// is wrong, not a flag that nobody gave.
Status CheckSuits(const LoadOptions& load, const std::string& picture) {
  BIFRONS_TRY(const std::string model, ResolveModel(load.model));
  BIFRONS_TRY(const auto source, OpenWeights(model));
  const Status suited = CheckKvType(source->config().llama, *load.kv);
  if (suited.ok()) return {};
  return UsageError(picture + ": was drawn with another model than " + model +
                    " (with --kv 8: " + suited.error().message + "); name that model with --model");
}

// The recorded settings, where no flag overrides them.
Status TakeFromPicture(const GenerateOptions& options, DrawingJob* into) {
  BIFRONS_TRY(const PictureSettings settings, ReadSettings(options.from));
  DrawingJob& job = *into;
  job.redrawn = options.best_of == 1 && options.images == 1 && !Overrides(options);
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
  if (!job.load.weights && !settings.weights.empty()) {
    job.load.weights = WeightType::Of(settings.weights);
    if (!job.load.weights)
      return DataError(options.from + ": was drawn with weights of the unknown type " + settings.weights);
  }
  if (!job.load.kv && settings.kv_type != settings.compute) {
    job.load.kv = KvTypeOf(settings.kv_type);
    if (!job.load.kv)
      return DataError(options.from + ": was drawn with keys and values of the unknown type " +
                       settings.kv_type);
  }
  if (!job.load.compute)
    job.load.compute = settings.compute == NameOf(DType::kBF16) ? DType::kBF16 : DType::kF32;
  if (job.load.chat_template == "auto") job.load.chat_template = settings.chat_template;
  if (job.load.kv && !options.load.kv) BIFRONS_RETURN_IF_ERROR(CheckSuits(job.load, options.from));
  job.requests.push_back({settings.prompt, settings.seed, settings.sampling});
  return {};
}

void ApplySampling(const GenerateOptions& options, Sampling* sampling) {
  if (options.guidance) sampling->guidance = *options.guidance;
  if (options.temperature) sampling->temperature = *options.temperature;
  if (options.top_k) sampling->top_k = *options.top_k;
  if (options.top_p) sampling->top_p = *options.top_p;
  if (options.min_p) sampling->min_p = *options.min_p;
}

}  // namespace

Result<DrawingJob> BeginDrawing(const GenerateOptions& options) {
  DrawingJob job;
  job.load = options.load;
  if (!options.from.empty()) BIFRONS_RETURN_IF_ERROR(TakeFromPicture(options, &job));
  job.load.parts.understanding = options.best_of > 1;  // the judge
  job.load.tell_device = options.verbose;
  job.load.hash = true;
  return job;
}

Status AddRequests(const GenerateOptions& options, Janus& janus, DrawingJob* job) {
  if (!job->expected_hash.empty()) {
    BIFRONS_TRY(const std::string hash, janus.source().Hash());
    if (hash != job->expected_hash) {
      return UsageError(options.from + ": was drawn with another model (hash " +
                        job->expected_hash.substr(0, 10) + "…) than " + DescribeModel(janus).model + " (" +
                        hash.substr(0, 10) + "…); name that model with --model");
    }
  }
  std::vector<DrawRequest> firsts = std::move(job->requests);  // of each prompt
  if (options.from.empty()) {
    Sampling sampling;
    sampling.guidance = janus.config().guidance_default;
    const uint64_t seed =
        options.seed ? static_cast<uint64_t>(*options.seed) : std::random_device{}() & 0x7FFFFFFF;
    for (const std::string& prompt : options.prompts)
      firsts.push_back({ReplaceInvalidUtf8(prompt), seed, sampling});
  } else if (options.seed) {
    firsts[0].seed = static_cast<uint64_t>(*options.seed);
  }
  job->requests.clear();
  for (DrawRequest& request : firsts) {
    ApplySampling(options, &request.sampling);
    request.best_of = options.best_of;
    BIFRONS_RETURN_IF_ERROR(CheckPrompt(janus, request.prompt));
    for (int k = 0; k < options.images; k++) {
      job->requests.push_back(request);
      request.seed += static_cast<uint64_t>(options.best_of);
    }
  }
  return {};
}

}  // namespace bifrons
