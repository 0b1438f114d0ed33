#include "src/bifrons.h"

#include <cmath>

#include "src/base/out_of_memory.h"
#include "src/engine/answer.h"
#include "src/engine/draw.h"
#include "src/engine/metadata.h"
#include "src/engine/scheduler.h"
#include "src/model/janus.h"
#include "src/model/text/utf8.h"
#include "vision/image_file.h"

namespace bifrons {

struct Engine::Impl {
  std::unique_ptr<Janus> janus;
  PictureSettings settings;  // what the model decides
  std::unique_ptr<Scheduler> scheduler;
};

namespace {

Result<LoadOptions> Convert(const EngineOptions& o) {
  LoadOptions load;
  load.model = o.model, load.device = o.device, load.isa = o.instruction_set, load.threads = o.threads;
  if (o.dtype == "f32") {
    load.compute = DType::kF32;
  } else if (o.dtype == "bf16") {
    load.compute = DType::kBF16;
  } else if (!o.dtype.empty()) {
    return UsageError("dtype \"" + o.dtype + "\": f32 and bf16 are known");
  }
  if (o.threads < 0) return UsageError("threads must not be negative");
  if (!o.drawing && !o.understanding) return UsageError("neither drawing nor understanding is to be loaded");
  load.parts = o.drawing ? ModelParts{} : kUnderstandingParts;
  load.parts.understanding = o.understanding;
  return load;
}

bool Within(float v, float least, float most) { return v >= least && v <= most; }

Status Check(const DrawOptions& o) {
  if (o.images < 1) return UsageError("images must be at least 1");
  if (o.seed > static_cast<uint64_t>(kMaxSeed - (o.images - 1)))
    return UsageError("seed + images − 1 must stay below 2^53");
  if (!std::isfinite(o.guidance)) return UsageError("guidance must be a number");
  if (!Within(o.temperature, 0, 1000)) return UsageError("temperature must lie between 0 and 1000");
  if (o.top_k < 0) return UsageError("top_k must not be negative");
  if (!Within(o.top_p, 0, 1) || !Within(o.min_p, 0, 1))
    return UsageError("top_p and min_p must lie between 0 and 1");
  return {};
}

Status Check(const QuestionOptions& o) {
  if (o.max_tokens < 1) return UsageError("max_tokens must be at least 1");
  if (o.seed > static_cast<uint64_t>(kMaxSeed)) return UsageError("seed must stay below 2^53");
  if (!Within(o.temperature, 0, 1000)) return UsageError("temperature must lie between 0 and 1000");
  if (!Within(o.top_p, 0, 1) || !Within(o.min_p, 0, 1))
    return UsageError("top_p and min_p must lie between 0 and 1");
  return {};
}

}  // namespace

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

std::unique_ptr<Engine> Engine::Load(const EngineOptions& options, std::string* error) {
  auto loaded = Guarded([&]() -> Result<std::unique_ptr<Engine>> {
    BIFRONS_TRY(const LoadOptions converted, Convert(options));
    auto impl = std::make_unique<Impl>();
    BIFRONS_TRY(impl->janus, Janus::Load(converted));
    BIFRONS_TRY(impl->settings, DescribeModel(*impl->janus));
    impl->scheduler = std::make_unique<Scheduler>(*impl->janus, SchedulerOptions{});
    return std::unique_ptr<Engine>(new Engine(std::move(impl)));
  });
  if (loaded.ok()) return std::move(*loaded);
  if (error) *error = std::move(loaded).error().message;
  return nullptr;
}

std::vector<Picture> Engine::Draw(const DrawOptions& o, const std::function<bool(double)>& progress,
                                  std::string* error) {
  auto pictures = Guarded([&]() -> Result<std::vector<Picture>> {
    BIFRONS_RETURN_IF_ERROR(Check(o));
    if (!impl_->janus->parts().drawing) return UsageError("the drawing half was not loaded");
    const std::string prompt = ReplaceInvalidUtf8(o.prompt);
    BIFRONS_RETURN_IF_ERROR(CheckPrompt(*impl_->janus, prompt));
    Sampling sampling{impl_->janus->config().guidance_default, o.temperature, o.top_k, o.top_p, o.min_p};
    if (o.guidance >= 0) sampling.guidance = o.guidance;
    std::vector<DrawRequest> requests;
    for (int k = 0; k < o.images; k++)
      requests.push_back({prompt, o.seed + static_cast<uint64_t>(k), sampling});
    const auto callback = [&](const DrawProgress& p) { return !progress || progress(p.share()); };
    BIFRONS_TRY(auto drawn, bifrons::Draw(*impl_->scheduler, requests, callback));
    std::vector<Picture> pictures;
    for (size_t i = 0; i < drawn.size(); i++) {
      PictureSettings settings = impl_->settings;
      settings.prompt = prompt, settings.seed = requests[i].seed, settings.sampling = sampling;
      pictures.push_back({static_cast<int>(settings.width), static_cast<int>(settings.height),
                          std::move(drawn[i].image.rgb), std::move(drawn[i].codes),
                          FormatParameters(settings)});
    }
    return pictures;
  });
  if (pictures.ok()) return std::move(*pictures);
  if (error) *error = std::move(pictures).error().message;
  return {};
}

bool Engine::Ask(const QuestionOptions& o, const std::function<bool(const std::string&)>& on_text,
                 std::string* answer, std::string* error) {
  auto text = Guarded([&]() -> Result<std::string> {
    BIFRONS_RETURN_IF_ERROR(Check(o));
    Janus& janus = *impl_->janus;
    if (!janus.parts().understanding) return UsageError("the understanding half was not loaded");
    AnswerRequest request;
    request.turns = {{static_cast<int64_t>(o.images.size()), o.question, ""}};
    request.sampling.temperature = o.temperature;
    request.sampling.top_p = o.top_p, request.sampling.min_p = o.min_p;
    request.seed = o.seed, request.max_tokens = o.max_tokens;
    request.look = [&]() -> Result<std::vector<ImageFeatures>> {
      std::vector<ImageFeatures> features;
      for (const std::string& source : o.images) {
        BIFRONS_TRY(const Image image, LoadImage(source));
        features.push_back(LookAt(janus, image));
      }
      return features;
    };
    std::string text;
    const auto collect = [&](const std::string& more) {
      text += more;
      return more.empty() || !on_text || on_text(more);
    };
    const auto answered = AnswerOne(*impl_->scheduler, std::move(request), collect);
    if (!answered.ok() && !Scheduler::IsCancelled(answered.error())) return answered.error();
    return text;
  });
  if (!text.ok()) {
    if (error) *error = std::move(text).error().message;
    return false;
  }
  if (answer) *answer = std::move(*text);
  return true;
}

}  // namespace bifrons
