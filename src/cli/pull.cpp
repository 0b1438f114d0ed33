// bifrons pull: a model from the hub.
#include "src/hub/pull.h"

#include <cstdio>

#include "src/cli/commands.h"

namespace bifrons {

Result<int> RunPull(const PullCommand& options) {
  BIFRONS_TRY(const Repository repository, ParseRepository(options.repositories[0]));
  BIFRONS_TRY(const HubSettings settings, ReadHubSettings());
  BIFRONS_TRY(const std::string folder, Pull(repository, settings, {.progress = !options.quiet}));
  std::printf("%s\n", folder.c_str());
  return 0;
}

}  // namespace bifrons
