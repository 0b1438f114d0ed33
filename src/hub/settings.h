// What the environment says of the hub: the same variables that Python's huggingface_hub reads.
#pragma once

#include <string>

#include "src/base/result.h"

namespace bifrons {

struct HubSettings {
  std::string endpoint;  // no slash at the end
  std::string cache;     // folder of models--ORG--NAME
  std::string token;     // "" = none
  bool offline = false;
};

/// endpoint: $HF_ENDPOINT, else https://huggingface.co. cache: $HF_HUB_CACHE, else $HUGGINGFACE_HUB_CACHE,
/// else hub/ below $HF_HOME, which is huggingface/ below $XDG_CACHE_HOME or ~/.cache where it is not set.
/// token: $HF_TOKEN, else the file $HF_TOKEN_PATH, else $HF_HOME/token; none with
/// $HF_HUB_DISABLE_IMPLICIT_TOKEN. offline: $HF_HUB_OFFLINE or $TRANSFORMERS_OFFLINE. Errors (kUsage): an
/// endpoint that is no address, a token that no header can hold, no home folder.
Result<HubSettings> ReadHubSettings();

}  // namespace bifrons
