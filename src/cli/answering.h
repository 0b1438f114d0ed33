// What caption, ask and chat share.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "src/cli/options.h"
#include "src/engine/answer.h"

namespace bifrons {

/// Reads an image (path, data: URI or -) and looks at it. Errors name the source.
Result<ImageFeatures> LoadAndLookAt(Janus& janus, const std::string& source, const ImageOptions& options);
/// The same of several.
Result<std::vector<ImageFeatures>> LoadAndLookAtAll(Janus& janus, const std::vector<std::string>& sources,
                                                    const ImageOptions& options);

/// A request with the flags' sampling and limits; turns and images are the caller's. Prints a seed that was
/// made up, where it matters.
AnswerRequest RequestFrom(const AnswerOptions& options);

/// text, tokens, complete, prompt_tokens and seconds of an answer.
nlohmann::json ToJson(const Answer& answer);
/// One line; what is no UTF-8 becomes U+FFFD.
std::string JsonLine(const nlohmann::json& json);

/// How a source is named in messages and results: itself, but for a data: URI only its beginning.
std::string ShownSource(const std::string& source);

}  // namespace bifrons
