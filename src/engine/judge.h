// The understanding half as a judge of pictures.
#pragma once

#include <string>

#include "src/base/result.h"
#include "src/engine/prefill.h"

namespace bifrons {

/// How well `picture` shows `prompt` in the model's own eyes: the log-probability (0 at best) that it answers
/// the question "Does this picture show PROMPT?" with yes.
Result<double> JudgePicture(Janus& janus, const Image& picture, const std::string& prompt);

}  // namespace bifrons
