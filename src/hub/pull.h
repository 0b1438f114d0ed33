// Getting a model from the hub into the cache.
#pragma once

#include <string>

#include "src/base/result.h"
#include "src/hub/repository.h"
#include "src/hub/settings.h"

namespace bifrons {

struct PullOptions {
  bool progress = true;  // a bar on a terminal, and lines about long waits
};

/// Downloads what the model needs and the cache lacks, checks it, and returns the snapshot's folder. What is
/// interrupted goes on where it stopped, and leaves nothing that looks whole: files get their names when
/// their hashes are right, the snapshot its links when all files are there, the revision its commit last.
/// Offline: what is in the cache. Errors, each telling what to do: kFailure (no network, no access, no such
/// repository, no room), kBadData (a listing or file that is not what it should be), Interrupted().
Result<std::string> Pull(const Repository& repository, const HubSettings& settings,
                         const PullOptions& options);

/// The folder of a model in the cache if it is whole there, without asking the hub; else Pull's.
Result<std::string> CachedOrPulled(const Repository& repository, const HubSettings& settings,
                                   const PullOptions& options);

}  // namespace bifrons
