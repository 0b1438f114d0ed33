// Answers in the form of an OpenAI Batch output file, one line per request.
// openai-python: types/images_response.py, types/chat/chat_completion.py, types/shared/error_object.py
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "src/jobs/job.h"
#include "src/jobs/picture_file.h"

namespace bifrons {

/// A picture of an answer: where it is, or itself.
struct AnswerPicture {
  std::string url;                // "file:///…"
  std::span<const uint8_t> file;  // not empty: goes into the answer as base64
};

// The lines carry no line break. Their ids are derived from the custom_id, so that a run repeats them.

/// The id of the line about a request.
std::string BatchRequestId(const std::string& custom_id);

/// The request_id in an answer: of its custom_id, what was asked (`key`, the job's) and all else that the
/// answer depends on. Where a batch was edited, it tells whether the answer is still the right one.
std::string AnswerRequestId(const Job& job, const std::string& key);

/// The answer to /v1/images/generations. `created`: seconds since 1970. `format`: "png", "jpg", "webp".
/// `size`: of the files.
std::string ImagesLine(const Job& job, const std::string& key, int64_t created, const std::string& format,
                       const PictureSize& size, std::span<const AnswerPicture> pictures);

/// The answer to /v1/chat/completions. `complete`: not ended by a limit.
std::string ChatLine(const Job& job, const std::string& key, int64_t created, const std::string& model,
                     const std::string& text, bool complete, int64_t prompt_tokens,
                     int64_t completion_tokens);

/// A request that failed: status 400 for kUsage and kBadData, else 500. Its field is the
/// `param`. As the service does it, the error is the response's body; the line's own `error` is for requests
/// that never reached a service, and null here.
std::string ErrorLine(const std::string& custom_id, const Error& error);

}  // namespace bifrons
