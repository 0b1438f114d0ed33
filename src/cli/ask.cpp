// bifrons ask: one question about any number of images.
#include <cstdio>

#include "src/base/stop.h"
#include "src/cli/answering.h"
#include "src/cli/commands.h"
#include "src/engine/scheduler.h"

namespace bifrons {

Result<int> RunAsk(const AskOptions& options) {
  const std::vector<std::string> images(options.arguments.begin(), options.arguments.end() - 1);
  const std::string& question = options.arguments.back();
  LoadOptions load = options.answer.load;
  load.parts = kUnderstandingParts;
  BIFRONS_TRY(const std::unique_ptr<Janus> janus, Janus::Load(load));

  AnswerRequest request = RequestFrom(options.answer);
  request.turns = {{static_cast<int64_t>(images.size()), question, ""}};
  request.look = [&] { return LoadAndLookAtAll(*janus, images, options.answer.image); };
  nlohmann::json shown = nlohmann::json::array();
  for (const std::string& source : images) shown.push_back(ShownSource(source));

  Scheduler scheduler(*janus, {});
  const auto print = [&](const std::string& text) {
    if (!options.json) std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
    return !StopRequested();
  };
  const auto result = AnswerOne(scheduler, std::move(request), print);
  if (StopRequested()) return Interrupted();
  if (!result.ok()) return result.error();
  const Answer& answer = *result;
  if (!options.json) {
    std::fputs("\n", stdout);
    std::fflush(stdout);  // before what --profile tells on standard error
    return 0;
  }
  nlohmann::json line = ToJson(answer);
  line["question"] = question;
  line["images"] = shown;
  std::printf("%s\n", JsonLine(line).c_str());
  return 0;
}

}  // namespace bifrons
