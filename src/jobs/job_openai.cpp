// OpenAI Batch input files: one request per line, with its custom_id.
// openai-python: types/image_generate_params.py; the extra fields are those of its extra_body
#include <nlohmann/json.hpp>
#include <set>
#include <span>

#include "src/base/digest_map.h"
#include "src/base/printable.h"
#include "src/jobs/job_parser.h"
#include "src/jobs/request_switch.h"

namespace bifrons {
namespace {

using nlohmann::json;

// The custom_id of a line that is no valid JSON, if that much can be read: whoever asked wants to know which.
std::string SalvageCustomId(const std::string& line) {
  constexpr std::string_view kKey = "\"custom_id\"";
  size_t at = line.find(kKey);
  if (at == std::string::npos) return "";
  at = line.find_first_not_of(" \t", at + kKey.size());
  if (at == std::string::npos || line[at] != ':') return "";
  at = line.find_first_not_of(" \t", at + 1);
  if (at == std::string::npos || line[at] != '"') return "";
  for (size_t end = at + 1; end < line.size(); end++) {
    if (line[end] == '\\') {
      end++;
    } else if (line[end] == '"') {
      const json text = json::parse(line.substr(at, end + 1 - at), nullptr, false);
      return text.is_string() ? text.get<std::string>() : "";
    }
  }
  return "";
}

std::string TextField(const json& object, const char* name, Mistake* mistake) {
  const auto found = object.find(name);
  if (found != object.end() && !found->is_null()) return FieldValue::OfJson(*found).Text(name, mistake);
  mistake->Report(name, "is missing");
  return "";
}

std::span<const RequestSwitch> ImageSwitches() {
  static const auto& switches = *new std::vector<RequestSwitch>{
      {"stream", {false}, "answers are written whole"},
      {"partial_images", {0}, "answers are written whole"},
      {"background", {"auto", "opaque"}, "pictures have no transparency"},
      {"frame_count", {1}, "a picture has one frame"},
  };
  return switches;
}

// What an answer may name as the quality; it is echoed.
const auto& kQualities = *new std::set<std::string_view>{"low", "medium", "high", "xhigh", "max"};

// Their clients always get the picture itself: they neither ask for it nor may they.
bool AnswersInline(std::string_view model) {
  model.remove_prefix(model.rfind('/') + 1);  // openai/gpt-image-1, as gateways name it
  return model.starts_with("gpt-image-") || model.starts_with("chatgpt-image-");
}

// Have no meaning for this model; whatever they say, the picture is the same.
const auto& kIgnoredInImages = *new std::set<std::string_view>{
    "quality", "style", "moderation", "user", "safety_identifier", "complexity", "output_compression"};
// Ours that OpenAI's own fields stand for, or that a request has no use for.
const auto& kNotInRequests =
    *new std::set<std::string_view>{"file", "file_name", "format", "index", "width", "height"};

PictureJob ReadImageBody(const json& body, Job* job, Mistake* mistake) {
  PictureFields fields("body.", mistake);
  std::string format;
  const auto one_of = [&](const json& value, const std::string& name,
                          std::initializer_list<const char*> texts, const char* allowed) {
    for (const char* text : texts) {
      if (value == text) return;
    }
    mistake->Report(name, "is " + FieldValue::OfJson(value).shown() + "; it must be " + allowed);
  };
  const auto quality = body.find("quality");
  if (quality != body.end() && quality->is_string() &&
      kQualities.contains(quality->get_ref<const std::string&>()))
    job->quality = *quality;
  for (const auto& [key, value] : body.items()) {
    if (value.is_null() || kIgnoredInImages.contains(key) ||
        CheckSwitch(ImageSwitches(), key, value, mistake))
      continue;
    const std::string name = "body." + Printable(key);
    if (key == "model") {
      job->model = FieldValue::OfJson(value).Text(name, mistake);
    } else if (key == "response_format") {
      one_of(value, name, {"url", "b64_json"}, "url or b64_json");
      job->inline_image = value == "b64_json";
    } else if (key == "output_format") {
      one_of(value, name, {"png", "jpeg", "webp"}, "png, jpeg or webp");
      format = value == "jpeg" ? "jpg" : value == "webp" ? "webp" : "png";
    } else if (kNotInRequests.contains(key) || !fields.Set(key, FieldValue::OfJson(value))) {
      mistake->Report(
          name,
          "is no parameter of /v1/images/generations, nor one of seed, best_of, cfg, temperature, "
          "top_k, top_p, min_p");
    }
  }
  job->inline_image |= AnswersInline(job->model);
  PictureJob picture = fields.Take();
  picture.format = format;
  return picture;
}

class OpenAiParser : public JobParser {
 public:
  Taken Take(const std::string& text, ParsedEntry* entry) override {
    Mistake* mistake = &entry->mistake;
    Job& job = entry->job;
    const json request = ParseObject(text, entry);
    const bool read = !mistake->error;
    job.custom_id = read ? TextField(request, "custom_id", mistake) : SalvageCustomId(text);
    const bool named = !job.custom_id.empty();
    const Digest16 id = named ? DigestOf(job.custom_id) : Digest16();
    entry->duplicate = named && ids_.Contains(id);
    if (entry->duplicate)
      mistake->Report("custom_id", "is \"" + Printable(job.custom_id) +
                                       "\", which an earlier request has; each must be another");
    if (read) ReadRequest(request, &job, mistake);
    // One that cannot be done leaves its name to another.
    if (named && !mistake->error) ids_.Insert(id, {});
    return Taken::kEntry;
  }

 private:
  void ReadRequest(const json& request, Job* job, Mistake* mistake) {
    for (const auto& [name, value] : request.items()) {
      if (name != "custom_id" && name != "method" && name != "url" && name != "body")
        mistake->Report(Printable(name), "is no field of a request; there are custom_id, method, url, body");
    }
    const std::string method = TextField(request, "method", mistake);
    if (method != "POST") mistake->Report("method", "is \"" + Printable(method) + "\"; it must be POST");
    const std::string url = TextField(request, "url", mistake);
    const auto body = request.find("body");
    if (body == request.end() || !body->is_object()) {
      mistake->Report("body", body == request.end() ? "is missing" : "is not an object");
    } else if (url == "/v1/images/generations") {
      job->picture = ReadImageBody(*body, job, mistake);
    } else if (url == "/v1/chat/completions") {
      job->answer = ReadChatBody(*body, &job->model, mistake);
    } else {
      mistake->Report(
          "url", "is \"" + Printable(url) + "\"; it must be /v1/images/generations or /v1/chat/completions");
    }
  }

  DigestSet ids_;  // of the requests so far that can be done
};

}  // namespace

std::unique_ptr<JobParser> MakeOpenAiParser() { return std::make_unique<OpenAiParser>(); }

}  // namespace bifrons
