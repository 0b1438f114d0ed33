// Which halves of the model a list needs, told before anything is loaded.
#pragma once

#include <optional>
#include <string>

#include "src/base/result.h"
#include "src/jobs/job_reader.h"
#include "src/model/load_options.h"

namespace bifrons {

/// Read from a file's text: the understanding half where it has a request for an answer in it, or for the
/// best of several candidates, and that half alone where it has none for pictures. Who mentions such a
/// request in a prompt gets more than needed. Of a stream nothing but its format is known: `best_of`, the
/// command line's, asks for the half with any value. Errors (kBadData): cannot be read.
Result<ModelParts> PartsForJobs(const std::string& jobs, JobFormat format, std::optional<int> best_of = {});

}  // namespace bifrons
