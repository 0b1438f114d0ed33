// Which halves of the model a list needs, told before anything is loaded.
#pragma once

#include <string>

#include "src/base/result.h"
#include "src/jobs/job_reader.h"
#include "src/model/load_options.h"

namespace bifrons {

/// Read from a file's text: the understanding half where it has a request for an answer in it, and that half
/// alone where it has none for pictures. Who mentions such a request in a prompt gets more than needed. Of a
/// stream nothing but its format is known. Errors (kUsage): cannot be read.
Result<ModelParts> PartsForJobs(const std::string& jobs, JobFormat format);

}  // namespace bifrons
