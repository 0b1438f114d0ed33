// The understanding half as a judge of pictures.
#pragma once

#include <string>

#include "src/engine/answer.h"

namespace bifrons {

/// What is asked about a picture, which is still to be added, to learn how well it shows `prompt` in the
/// model's own eyes: the log-probability (0 at best) of the prompt as the answer to "Describe this image.".
/// On the bundled model's world this agrees better with an independent detector than the probability of
/// "yes" to "Does this picture show PROMPT?"; figures in its model card.
AnswerRequest JudgeRequest(const std::string& prompt);

}  // namespace bifrons
