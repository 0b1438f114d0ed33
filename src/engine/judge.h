// The understanding half as a judge of pictures.
#pragma once

#include <string>

#include "src/base/result.h"
#include "src/engine/prefill.h"

namespace bifrons {

/// How well `picture` shows `prompt` in the model's own eyes: the log-probability (0 at best) of the prompt
/// as its answer to "Describe this image.". On the bundled model's world this agrees better with an
/// independent detector than the probability of "yes" to "Does this picture show PROMPT?"; figures in its
/// model card.
Result<double> JudgePicture(Janus& janus, const Image& picture, const std::string& prompt);

}  // namespace bifrons
