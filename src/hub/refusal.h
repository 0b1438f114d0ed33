// What an answer that is no success means to a person.
#pragma once

#include <string>

#include "src/hub/http.h"
#include "src/hub/repository.h"
#include "src/hub/settings.h"

namespace bifrons {

/// One line: what was asked for, why it was not given, what to do (kFailure). `what`: a file of the
/// repository, or "" for its listing.
Error RefusalOf(const HttpResponse& response, const Repository& repository, const std::string& what,
                const HubSettings& settings);

}  // namespace bifrons
