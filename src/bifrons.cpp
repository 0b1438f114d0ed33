#include "src/bifrons.h"

#include <cmath>

#include "src/base/out_of_memory.h"
#include "src/bifrons_requests.h"
#include "src/engine/answer.h"
#include "src/engine/draw.h"
#include "src/engine/metadata.h"
#include "src/engine/scheduler.h"
#include "src/model/janus.h"
#include "src/model/quantized_weights.h"
#include "src/model/text/utf8.h"
#include "vision/image_file.h"

namespace bifrons {

struct Engine::Impl {
  std::unique_ptr<Janus> janus;
  PictureSettings settings;  // what the model decides
  std::unique_ptr<Scheduler> scheduler;
  std::unique_ptr<Requests> requests;  // last: its end waits for the others' work

  Result<DrawingTask> ToTask(const DrawOptions& options) const;
  Result<AnswerRequest> ToRequest(const QuestionOptions& options) const;
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
  if (!o.type.empty()) {
    load.weights = WeightType::Of(o.type);
    if (!load.weights) return UsageError("type \"" + o.type + "\": use " + WeightType::Names());
  }
  if (o.kv_bits != 0 && o.kv_bits != 8 && o.kv_bits != 16)
    return UsageError("kv_bits " + std::to_string(o.kv_bits) + ": use 8, 16, or 0 for the arithmetic's");
  if (o.kv_bits != 0) load.kv = o.kv_bits == 8 ? DType::kQ8_0 : DType::kBF16;
  if (o.threads < 0) return UsageError("threads must not be negative");
  if (!o.drawing && !o.understanding) return UsageError("neither drawing nor understanding is to be loaded");
  load.parts = o.drawing ? ModelParts{} : kUnderstandingParts;
  load.parts.understanding = o.understanding;
  load.hash = o.drawing;
  return load;
}

bool Within(float v, float least, float most) { return v >= least && v <= most; }

// What both kinds of requests sample with.
template <class Options>
Status CheckSampling(const Options& o) {
  if (!Within(o.temperature, 0, 1000))
    return UsageError("temperature must lie between 0 and 1000", "temperature");
  if (!Within(o.top_p, 0, 1)) return UsageError("top_p must lie between 0 and 1", "top_p");
  if (!Within(o.min_p, 0, 1)) return UsageError("min_p must lie between 0 and 1", "min_p");
  return {};
}

Status Check(const DrawOptions& o) {
  if (o.images < 1) return UsageError("images must be at least 1", "images");
  if (o.best_of < 1 || o.best_of > kMaxBestOf)
    return UsageError("best_of must lie between 1 and " + std::to_string(kMaxBestOf), "best_of");
  const int64_t seeds = int64_t{o.images} * o.best_of;
  if (o.seed > static_cast<uint64_t>(kMaxSeed) || static_cast<int64_t>(o.seed) > kMaxSeed - (seeds - 1))
    return UsageError("seed + images · best_of − 1 must stay below 2^53", "seed");
  if (!std::isfinite(o.guidance)) return UsageError("guidance must be a number", "guidance");
  if (o.top_k < 0) return UsageError("top_k must not be negative", "top_k");
  return CheckSampling(o);
}

Status Check(const QuestionOptions& o) {
  if (o.max_tokens < 1) return UsageError("max_tokens must be at least 1", "max_tokens");
  if (o.seed > static_cast<uint64_t>(kMaxSeed)) return UsageError("seed must stay below 2^53", "seed");
  return CheckSampling(o);
}

// What a failure leaves behind: an error for who wants one.
void Tell(Error what, EngineError* error) {
  if (error) *error = ToEngineError(std::move(what));
}

RequestId Accepted(Result<RequestId> id, EngineError* error) {
  if (id.ok()) return *id;
  Tell(std::move(id).error(), error);
  return kNoRequest;
}

}  // namespace

Result<DrawingTask> Engine::Impl::ToTask(const DrawOptions& o) const {
  BIFRONS_RETURN_IF_ERROR(Check(o));
  if (!janus->parts().drawing) return UsageError("the drawing half was not loaded");
  DrawingTask task;
  task.images = o.images, task.settings = settings, task.model = &janus->source();
  task.request.prompt = ReplaceInvalidUtf8(o.prompt);
  task.request.seed = o.seed, task.request.best_of = o.best_of;
  task.request.sampling = {janus->config().guidance_default, o.temperature, o.top_k, o.top_p, o.min_p};
  if (o.guidance >= 0) task.request.sampling.guidance = o.guidance;
  BIFRONS_RETURN_IF_ERROR(CheckPrompt(*janus, task.request.prompt));
  return task;
}

Result<AnswerRequest> Engine::Impl::ToRequest(const QuestionOptions& o) const {
  BIFRONS_RETURN_IF_ERROR(Check(o));
  if (!janus->parts().understanding) return UsageError("the understanding half was not loaded");
  AnswerRequest request;
  request.turns = {{static_cast<int64_t>(o.images.size()), o.question, ""}};
  request.sampling.temperature = o.temperature;
  request.sampling.top_p = o.top_p, request.sampling.min_p = o.min_p;
  request.seed = o.seed, request.max_tokens = o.max_tokens;
  request.look = [&model = *janus, images = o.images]() -> Result<std::vector<ImageFeatures>> {
    std::vector<ImageFeatures> features;
    for (const std::string& source : images) {
      const auto image = LoadImage(source);
      if (!image.ok()) return Error{image.error().kind, image.error().message, "images"};
      features.push_back(LookAt(model, *image));
    }
    return features;
  };
  return request;
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

std::unique_ptr<Engine> Engine::Load(const EngineOptions& options, EngineError* error) {
  auto loaded = Guarded([&]() -> Result<std::unique_ptr<Engine>> {
    BIFRONS_TRY(const LoadOptions converted, Convert(options));
    auto impl = std::make_unique<Impl>();
    BIFRONS_TRY(impl->janus, Janus::Load(converted));
    impl->settings = DescribeModel(*impl->janus);
    impl->scheduler = std::make_unique<Scheduler>(*impl->janus, SchedulerOptions{});
    impl->requests = std::make_unique<Requests>(*impl->scheduler);
    return std::unique_ptr<Engine>(new Engine(std::move(impl)));
  });
  if (loaded.ok()) return std::move(*loaded);
  Tell(std::move(loaded).error(), error);
  return nullptr;
}

RequestId Engine::Submit(const DrawOptions& options, DrawCallbacks callbacks, EngineError* error) {
  const auto submit = [&]() -> Result<RequestId> {
    BIFRONS_TRY(DrawingTask task, impl_->ToTask(options));
    return impl_->requests->Submit(std::move(task), std::move(callbacks));
  };
  return Accepted(Guarded(submit), error);
}

RequestId Engine::Submit(const QuestionOptions& options, AskCallbacks callbacks, EngineError* error) {
  const auto submit = [&]() -> Result<RequestId> {
    BIFRONS_TRY(AnswerRequest request, impl_->ToRequest(options));
    return impl_->requests->Submit(std::move(request), std::move(callbacks));
  };
  return Accepted(Guarded(submit), error);
}

void Engine::Cancel(RequestId id) { impl_->requests->Cancel(id); }
void Engine::Wait(RequestId id) { impl_->requests->Wait(id); }
void Engine::WaitForAll() { impl_->requests->WaitForAll(); }

std::vector<Picture> Engine::Draw(const DrawOptions& o, const std::function<bool(double)>& progress,
                                  EngineError* error) {
  bool stopped = false;
  auto pictures = Guarded([&]() -> Result<std::vector<Picture>> {
    BIFRONS_TRY(const DrawingTask task, impl_->ToTask(o));
    std::vector<DrawRequest> requests;
    for (int k = 0; k < o.images; k++) requests.push_back(task.RequestOf(k));
    std::vector<Picture> taken;
    const auto callback = [&](const DrawProgress& p) {
      stopped = progress && !progress(p.share());
      return !stopped;
    };
    const auto take = [&](size_t, DrawnPicture drawn) -> Status {
      BIFRONS_TRY(Picture picture, task.ToPicture(std::move(drawn)));
      taken.push_back(std::move(picture));
      return {};
    };
    BIFRONS_RETURN_IF_ERROR(DrawEach(*impl_->scheduler, requests, callback, take));
    return taken;
  });
  if (pictures.ok()) return std::move(*pictures);
  Tell(stopped ? Failure(Scheduler::kCancelled) : std::move(pictures).error(), error);
  return {};
}

bool Engine::Ask(const QuestionOptions& o, const std::function<bool(const std::string&)>& on_text,
                 std::string* answer, EngineError* error) {
  auto text = Guarded([&]() -> Result<std::string> {
    BIFRONS_TRY(AnswerRequest request, impl_->ToRequest(o));
    std::string all;
    const auto collect = [&](const std::string& more) {
      all += more;
      return more.empty() || !on_text || on_text(more);
    };
    const auto answered = AnswerOne(*impl_->scheduler, std::move(request), collect);
    if (!answered.ok() && !Scheduler::IsCancelled(answered.error())) return answered.error();
    return all;
  });
  if (!text.ok()) {
    Tell(std::move(text).error(), error);
    return false;
  }
  if (answer) *answer = std::move(*text);
  return true;
}

}  // namespace bifrons
