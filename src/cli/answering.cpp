#include "src/cli/answering.h"

#include <cstdio>
#include <random>

#include "src/base/stop.h"

namespace bifrons {

Result<ImageFeatures> LoadAndLookAt(Janus& janus, const std::string& source, const ImageOptions& options) {
  BIFRONS_TRY(const Image image, LoadImage(source, options));
  return LookAt(janus, image);
}

Result<std::vector<ImageFeatures>> LoadAndLookAtAll(Janus& janus, const std::vector<std::string>& sources,
                                                    const ImageOptions& options) {
  std::vector<ImageFeatures> all;
  for (const std::string& source : sources) {
    if (StopRequested()) return Interrupted();
    BIFRONS_TRY(auto features, LoadAndLookAt(janus, source, options));
    all.push_back(std::move(features));
  }
  return all;
}

AnswerRequest RequestFrom(const AnswerOptions& options) {
  AnswerRequest request;
  request.sampling = options.sampling;
  request.max_tokens = options.max_tokens;
  if (options.seed) {
    request.seed = static_cast<uint64_t>(*options.seed);
  } else if (options.sampling.temperature > 0) {
    request.seed = std::random_device{}() & 0x7FFFFFFF;
    std::fprintf(stderr, "seed %llu\n", static_cast<unsigned long long>(request.seed));
  }
  return request;
}

nlohmann::json ToJson(const Answer& answer) {
  return {{"text", answer.text},
          {"tokens", answer.tokens},
          {"complete", answer.complete},
          {"prompt_tokens", answer.prompt_tokens},
          {"prefill_seconds", answer.prefill_seconds},
          {"decode_seconds", answer.decode_seconds}};
}

std::string JsonLine(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string ShownSource(const std::string& source) {
  constexpr size_t kShown = 40;
  return source.starts_with("data:") && source.size() > kShown ? source.substr(0, kShown) + "…" : source;
}

}  // namespace bifrons
