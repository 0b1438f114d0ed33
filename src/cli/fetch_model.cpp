#include "src/cli/fetch_model.h"

#include <cstdlib>
#include <filesystem>
#include <type_traits>

#include "src/hub/pull.h"
#include "src/model/checkpoint/model_texts.h"

namespace bifrons {
namespace {

// Where a command says which model it means; nullptr where it needs none.
std::string* ModelOf(Command& command) {
  return std::visit(
      [](auto& options) -> std::string* {
        // The self-test has the bundled model.
        if constexpr (std::is_same_v<decltype(options), SelftestOptions&>) return nullptr;
        if constexpr (requires { options.answer; }) return &options.answer.load.model;
        if constexpr (requires { options.load; }) return &options.load.model;
        if constexpr (requires { options.model; }) return &options.model;
        return nullptr;
      },
      command);
}

// Fetches the model at `model`, or where nothing is named there $BIFRONS_MODEL's.
Status FetchNamed(std::string* model, bool quiet) {
  std::string named = *model;
  if (const char* set = std::getenv("BIFRONS_MODEL"); named.empty() && set) named = set;
  if (named.starts_with("hf:")) {
    BIFRONS_TRY(const Repository repository, ParseRepository(named));
    BIFRONS_TRY(const HubSettings settings, ReadHubSettings());
    BIFRONS_TRY(const std::string folder, CachedOrPulled(repository, settings, {.progress = !quiet}));
    // Where nothing was asked for, the verb may still have another idea than the environment (generate
    // --from).
    if (model->empty()) {
      ::setenv("BIFRONS_MODEL", folder.c_str(), 1);
    } else {
      *model = folder;
    }
    return {};
  }
  std::error_code error;
  if (!std::filesystem::exists(named, error) && !IsGgufPath(named) && LooksLikeRepository(named))
    return DataError(named + ": no such folder; to download it: bifrons pull " + named +
                     ", or -m hf:" + named);
  return {};
}

}  // namespace

bool IsQuiet(const Command& command) {
  return std::visit(
      [](const auto& options) {
        if constexpr (requires { options.quiet; }) return options.quiet;
        return false;
      },
      command);
}

Status FetchModel(Command& command) {
  if (std::string* const model = ModelOf(command)) {
    BIFRONS_RETURN_IF_ERROR(FetchNamed(model, IsQuiet(command)));
  }
  auto* const compared = std::get_if<KlOptions>(&command);
  return compared && !compared->against.empty() ? FetchNamed(&compared->against, compared->quiet) : Status();
}

}  // namespace bifrons
