// JSON lines: with our own fields, and GenEval's prompts.
#include <nlohmann/json.hpp>

#include "src/base/json_depth.h"
#include "src/base/printable.h"
#include "src/jobs/job_parser.h"
#include "src/model/text/utf8.h"

namespace bifrons {

using nlohmann::json;

bool IsBlank(std::string_view line) { return StripPythonWhitespace(line).empty(); }

bool LooksLikeObject(std::string_view line) {
  line = StripPythonWhitespace(line);
  if (!line.starts_with('{')) return false;
  line = StripPythonWhitespace(line.substr(1));
  return line.starts_with('"') || line.starts_with('}');
}

json ParseObject(const std::string& line, Mistake* mistake) {
  if (const Status depth = CheckJsonDepth(line, "the line"); !depth.ok()) {
    mistake->Report("", depth.error().message);
    return json::object();
  }
  try {
    json value = json::parse(line);
    if (value.is_object()) return value;
    mistake->Report("", "the line is not a JSON object");
  } catch (const json::parse_error& error) {
    mistake->Report("", "the line is not valid JSON (at byte " + std::to_string(error.byte) + ")");
  } catch (const json::exception&) {  // a number beyond all bounds
    mistake->Report("", "the line holds a number that is too large");
  }
  return json::object();
}

namespace {

class JsonParser : public JobParser {
 public:
  Taken Take(const std::string& line, ParsedEntry* entry) override {
    if (IsBlank(line)) return Taken::kNothing;
    PictureFields fields("", &entry->mistake);
    const json object = ParseObject(line, &entry->mistake);
    for (const auto& [name, value] : object.items()) {
      if (!fields.Set(name, FieldValue::OfJson(value)))
        entry->mistake.Report(Printable(name), "is no field of a job; there are " + PictureFields::Names());
    }
    entry->job.picture = fields.Take();
    entry->index = fields.index();
    return Taken::kEntry;
  }
};

// geneval: prompts/evaluation_metadata.jsonl, generation/diffusers_generate.py
class GenEvalParser : public JobParser {
 public:
  Taken Take(const std::string& line, ParsedEntry* entry) override {
    if (IsBlank(line)) return Taken::kNothing;
    const json object = ParseObject(line, &entry->mistake);
    PictureFields fields("", &entry->mistake);
    const auto found = object.find("prompt");
    if (found != object.end()) fields.Set("prompt", FieldValue::OfJson(*found));
    entry->job.picture = fields.Take();
    if (!object.contains("tag") || !object["tag"].is_string())
      entry->mistake.Report("tag", "is missing, or not a text");
    if (!object.contains("include") || !object["include"].is_array())
      entry->mistake.Report("include", "is missing, or not a list");
    entry->job.geneval_metadata = StripPythonWhitespace(line);
    return Taken::kEntry;
  }
};

}  // namespace

std::unique_ptr<JobParser> MakeJsonParser() { return std::make_unique<JsonParser>(); }
std::unique_ptr<JobParser> MakeGenEvalParser() { return std::make_unique<GenEvalParser>(); }

}  // namespace bifrons
