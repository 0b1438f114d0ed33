// bifrons kl: what a type of weights costs, in nats and in tokens that come out otherwise.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "src/base/printable.h"
#include "src/base/progress.h"
#include "src/base/stop.h"
#include "src/cli/commands.h"
#include "src/engine/divergence.h"
#include "src/model/quantized_weights.h"

namespace bifrons {
namespace {

// What every Janus can draw, the bundled one too.
constexpr const char* kPrompts[] = {"a dog",
                                    "a red circle on a white background",
                                    "two apples",
                                    "a tree to the left of a house",
                                    "a yellow car on a blue background",
                                    "a photo of a cat",
                                    "a green triangle above a purple square",
                                    "a cup of coffee"};

// "janus-mini, weights q8_0, arithmetic bf16, keys and values bf16"
std::string Describe(const Janus& janus) {
  return janus.name() + ", weights " + WeightsName(janus.source()) + ", arithmetic " +
         NameOf(janus.compute()) + ", keys and values " + NameOf(janus.kv_type());
}

// Both are there and say the same of themselves, out of the same files.
Result<bool> AreTheSame(Janus& reference, Janus& model) {
  if (Describe(reference) != Describe(model)) return false;
  BIFRONS_TRY(const std::string one, reference.source().Hash());
  BIFRONS_TRY(const std::string other, model.source().Hash());
  return one == other;
}

// What makes the numbers mean less than they seem to.
Status Warn(Janus& reference, Janus& model, const std::vector<DrawRequest>& requests) {
  BIFRONS_TRY(const bool same, AreTheSame(reference, model));
  if (same) {
    std::fprintf(stderr,
                 "bifrons: warning: this compares %s with itself, in the same types: nothing can differ; see "
                 "--type, --dtype, --kv and --against\n",
                 model.name().c_str());
  }
  for (const DrawRequest& request : requests) {
    if (reference.EncodePrompt(request.prompt).conditional == model.EncodePrompt(request.prompt).conditional)
      continue;
    std::fprintf(stderr,
                 "bifrons: warning: %s and %s read \"%s\" as other tokens, by other tokenizers or templates: "
                 "the difference of those is measured, too\n",
                 reference.name().c_str(), model.name().c_str(), Printable(request.prompt).c_str());
    break;
  }
  return {};
}

std::vector<DrawRequest> Requests(const KlOptions& options, float guidance) {
  std::vector<std::string> prompts = options.prompts;
  if (prompts.empty()) prompts.assign(std::begin(kPrompts), std::end(kPrompts));
  std::vector<DrawRequest> requests;
  for (const std::string& prompt : prompts) {
    for (int i = 0; i < options.images; i++) {
      DrawRequest request;
      request.prompt = prompt, request.seed = static_cast<uint64_t>(options.seed + i);
      request.sampling.guidance = guidance;
      requests.push_back(std::move(request));
    }
  }
  return requests;
}

}  // namespace

Result<int> RunKl(const KlOptions& options) {
  LoadOptions load = options.load;
  load.parts.vq_decoder = false;
  LoadOptions other = options.load;
  if (!options.against.empty()) other.model = options.against;
  other.weights.reset(), other.kv.reset();
  other.compute = DType::kF32;
  other.profile.reset();
  BIFRONS_TRY(const std::unique_ptr<Janus> reference, Janus::Load(other));
  BIFRONS_TRY(const std::unique_ptr<Janus> model, Janus::Load(load));

  const float guidance = options.guidance.value_or(reference->config().guidance_default);
  const std::vector<DrawRequest> requests = Requests(options, guidance);
  BIFRONS_RETURN_IF_ERROR(CheckComparable(*reference, *model));
  BIFRONS_RETURN_IF_ERROR(Warn(*reference, *model, requests));
  Divergence d;
  {
    ProgressBar bar("comparing", !options.quiet);
    BIFRONS_TRY(d, MeasureDivergence(*reference, *model, requests, [&](double share) {
                  bar.Update(share, 1, "");
                  return !StopRequested();
                }));
  }
  if (options.json) {
    const nlohmann::json json = {{"model", Describe(*model)},
                                 {"against", Describe(*reference)},
                                 {"pictures", requests.size()},
                                 {"tokens", d.tokens},
                                 {"guidance", guidance},
                                 {"kl_mean", d.mean_kl},
                                 {"kl_99", d.kl_99},
                                 {"top_1", d.top_1},
                                 {"drawn", d.drawn}};
    std::printf("%s\n", json.dump().c_str());
    return 0;
  }
  std::printf("model    %s\nagainst  %s\n", Describe(*model).c_str(), Describe(*reference).c_str());
  std::printf("tokens   %lld of %zu pictures\n", static_cast<long long>(d.tokens), requests.size());
  std::printf("KL       %.3g nats on average, 99 %% at most %.3g\n", d.mean_kl, d.kl_99);
  std::printf("top-1    %.2f %% have the same likeliest token\n", 100 * d.top_1);
  std::printf("drawn    %.2f %% come out the same at guidance %g\n", 100 * d.drawn, guidance);
  return 0;
}

}  // namespace bifrons
