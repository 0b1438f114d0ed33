// bifrons ask: one question about any number of images.
#include <cstdio>

#include "src/cli/answering.h"
#include "src/cli/commands.h"

namespace bifrons {

Result<int> RunAsk(const AskOptions& options) {
  const std::vector<std::string> images(options.arguments.begin(), options.arguments.end() - 1);
  const std::string& question = options.arguments.back();
  LoadOptions load = options.answer.load;
  load.parts = kUnderstandingParts;
  BIFRONS_TRY(const std::unique_ptr<Janus> janus, Janus::Load(load));

  AnswerRequest request = RequestFrom(options.answer);
  request.turns = {{static_cast<int64_t>(images.size()), question, ""}};
  BIFRONS_RETURN_IF_ERROR(CheckContext(*janus, request.turns));
  nlohmann::json shown = nlohmann::json::array();
  for (const std::string& source : images) {
    BIFRONS_TRY(auto features, LoadAndLookAt(*janus, source, options.answer.image));
    request.images.push_back(std::move(features));
    shown.push_back(ShownSource(source));
  }

  AnswerBatch batch(*janus);
  BIFRONS_RETURN_IF_ERROR(batch.Add(0, request));
  const auto print = [&](int64_t, const std::string& text) {
    if (options.json) return;
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
  };
  while (batch.size() > 0) {
    for (const Answer& answer : batch.Step(print)) {
      if (!options.json) {
        std::fputs("\n", stdout);
        continue;
      }
      nlohmann::json line = ToJson(answer);
      line["question"] = question;
      line["images"] = shown;
      std::printf("%s\n", JsonLine(line).c_str());
    }
    if (interrupted) return Failure("interrupted");
  }
  return 0;
}

}  // namespace bifrons
