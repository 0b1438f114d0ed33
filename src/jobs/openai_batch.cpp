#include "src/jobs/openai_batch.h"

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "src/base/sha256.h"

namespace bifrons {
namespace {

using Json = nlohmann::ordered_json;

std::string Base64(std::span<const uint8_t> bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t k = 0; k < 3; k++) group = group << 8 | (k < count ? bytes[i + k] : 0u);
    for (size_t k = 0; k < 4; k++) text += k <= count ? kDigits[group >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

// The same request has the same ids in every run.
std::string Id(const std::string& kind, const std::string& custom_id) {
  return kind + Sha256::Hex(kind + custom_id).substr(0, 32);
}

std::string Line(const std::string& custom_id, const std::string& request_id, int status, Json body) {
  Json line;
  line["id"] = BatchRequestId(custom_id);
  line["custom_id"] = custom_id;
  line["response"]["status_code"] = status;
  line["response"]["request_id"] = request_id;
  line["response"]["body"] = std::move(body);
  line["error"] = nullptr;
  return line.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string BatchRequestId(const std::string& custom_id) { return Id("batch_req_", custom_id); }

std::string AnswerRequestId(const Job& job, const std::string& key) {
  const Json asked = {job.custom_id, key, job.inline_image, job.quality, job.model};
  return Id("req_", asked.dump(-1, ' ', false, Json::error_handler_t::replace));
}

std::string ImagesLine(const Job& job, const std::string& key, int64_t created, const std::string& format,
                       const PictureSize& size, std::span<const AnswerPicture> pictures) {
  Json body;
  body["created"] = created;
  body["background"] = "opaque";
  body["data"] = Json::array();
  for (const AnswerPicture& picture : pictures) {
    Json entry;
    if (picture.file.empty()) {
      entry["url"] = picture.url;
    } else {
      entry["b64_json"] = Base64(picture.file);
    }
    body["data"].push_back(std::move(entry));
  }
  body["output_format"] = format == "jpg" ? "jpeg" : format;
  if (!job.quality.empty()) body["quality"] = job.quality;
  body["size"] = size.ToString();
  return Line(job.custom_id, AnswerRequestId(job, key), 200, std::move(body));
}

std::string ChatLine(const Job& job, const std::string& key, int64_t created, const std::string& model,
                     const std::string& text, bool complete, int64_t prompt_tokens,
                     int64_t completion_tokens) {
  Json message;
  message["role"] = "assistant";
  message["content"] = text;
  message["refusal"] = nullptr;
  Json choice;
  choice["index"] = 0;
  choice["message"] = std::move(message);
  choice["logprobs"] = nullptr;
  choice["finish_reason"] = complete ? "stop" : "length";
  Json body;
  body["id"] = Id("chatcmpl-", job.custom_id);
  body["object"] = "chat.completion";
  body["created"] = created;
  body["model"] = model;
  body["choices"] = Json::array({std::move(choice)});
  body["usage"]["prompt_tokens"] = prompt_tokens;
  body["usage"]["completion_tokens"] = completion_tokens;
  body["usage"]["total_tokens"] = prompt_tokens + completion_tokens;
  return Line(job.custom_id, AnswerRequestId(job, key), 200, std::move(body));
}

std::string ErrorLine(const std::string& custom_id, const Error& error) {
  const bool theirs = error.kind != ErrorKind::kFailure;
  constexpr std::string_view kBody = "body.";  // parameters are named from the body on
  const std::string param = error.field.starts_with(kBody) ? error.field.substr(kBody.size()) : error.field;
  Json body;
  body["error"]["message"] = error.message;
  body["error"]["type"] = theirs ? "invalid_request_error" : "server_error";
  body["error"]["param"] = param.empty() ? Json() : Json(param);
  body["error"]["code"] = nullptr;
  return Line(custom_id, Id("req_", custom_id), theirs ? 400 : 500, std::move(body));
}

}  // namespace bifrons
