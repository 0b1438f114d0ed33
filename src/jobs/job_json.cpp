// Entries of JSON: with our own fields, and GenEval's prompts.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "src/base/printable.h"
#include "src/jobs/job_parser.h"
#include "src/model/text/utf8.h"

namespace bifrons {

using nlohmann::json;

bool IsBlank(std::string_view line) { return StripPythonWhitespace(line).empty(); }

bool LooksLikeJson(std::string_view line) {
  line = StripPythonWhitespace(line);
  if (line.empty()) return false;
  if (line.find_first_not_of("[]{}, \t") == std::string_view::npos)
    return true;  // a line of pretty-printed JSON
  const bool brace = line.starts_with('{');
  if (brace) line = StripPythonWhitespace(line.substr(1));
  if (brace && (line.starts_with('"') || line.starts_with('}'))) return true;
  // Web UIs have a use for brackets too ([a cat:a dog:0.5], ["quoted" words]): they are JSON if all of it is.
  if (line.starts_with('[') && json::accept(line)) return true;
  // A field of a job; others may be prompts ("HOPE": a poster).
  const size_t end = line.starts_with('"') ? line.find('"', 1) : std::string_view::npos;
  return end != std::string_view::npos && PictureFields::Knows(line.substr(1, end - 1)) &&
         StripPythonWhitespace(line.substr(end + 1)).starts_with(':');
}

json ParseValue(const std::string& text, ParsedEntry* entry) {
  if (entry->mistake.error) return json::object();
  try {
    json value = json::parse(text);
    if (value.is_object() || value.is_string()) return value;
    entry->mistake.Report("", "it is not a JSON object");
  } catch (const json::parse_error& error) {
    entry->no_json = true;
    const size_t byte = std::min(error.byte, text.find_last_not_of(" \t\r\n") + 1);
    const auto breaks = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(byte), '\n');
    entry->mistake.Report("", breaks == 0
                                  ? "not valid JSON (at byte " + std::to_string(error.byte) + ")"
                                  : "not valid JSON (in line " + std::to_string(entry->line + breaks) + ")");
  } catch (const json::exception&) {  // a number beyond all bounds
    entry->mistake.Report("", "it holds a number that is too large");
  }
  return json::object();
}

json ParseObject(const std::string& text, ParsedEntry* entry) {
  json value = ParseValue(text, entry);
  if (value.is_object()) return value;
  entry->mistake.Report("", "it is not a JSON object");
  return json::object();
}

namespace {

// A text is a prompt with no other fields.
class JsonParser : public JobParser {
 public:
  Taken Take(const std::string& text, ParsedEntry* entry) override {
    PictureFields fields("", &entry->mistake);
    const json object = ParseValue(text, entry);
    if (object.is_string()) {
      fields.Set("prompt", FieldValue::OfJson(object));
    } else {
      for (const auto& [name, value] : object.items()) {
        if (!fields.Set(name, FieldValue::OfJson(value)))
          entry->mistake.Report(Printable(name), "is no field of a job; there are " + PictureFields::Names());
      }
    }
    entry->job.picture = fields.Take();
    entry->index = fields.index();
    return Taken::kEntry;
  }
};

// geneval: prompts/evaluation_metadata.jsonl, generation/diffusers_generate.py
class GenEvalParser : public JobParser {
 public:
  Taken Take(const std::string& text, ParsedEntry* entry) override {
    const json object = ParseObject(text, entry);
    PictureFields fields("", &entry->mistake);
    const auto found = object.find("prompt");
    if (found != object.end()) fields.Set("prompt", FieldValue::OfJson(*found));
    entry->job.picture = fields.Take();
    if (!object.contains("tag") || !object["tag"].is_string())
      entry->mistake.Report("tag", "is missing, or not a text");
    if (!object.contains("include") || !object["include"].is_array())
      entry->mistake.Report("include", "is missing, or not a list");
    // On one line, as the others are: line breaks of valid JSON stand between its tokens.
    entry->job.geneval_metadata = text;
    std::replace(entry->job.geneval_metadata.begin(), entry->job.geneval_metadata.end(), '\n', ' ');
    std::replace(entry->job.geneval_metadata.begin(), entry->job.geneval_metadata.end(), '\r', ' ');
    return Taken::kEntry;
  }
};

}  // namespace

std::unique_ptr<JobParser> MakeJsonParser() { return std::make_unique<JsonParser>(); }
std::unique_ptr<JobParser> MakeGenEvalParser() { return std::make_unique<GenEvalParser>(); }

}  // namespace bifrons
