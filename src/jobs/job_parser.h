// One format's way from text to a job; job_reader.cpp feeds them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/jobs/job_fields.h"

namespace bifrons {

/// What a parser makes of an entry: a job, unless there is a mistake.
struct ParsedEntry {
  int64_t line = 0;              // where the entry begins, from 1
  Job job;                       // `index` and `where` are the reader's
  std::optional<int64_t> index;  // the entry's own
  Mistake mistake;
  bool no_json = false;    // of a JSON format: the text is not valid JSON
  bool duplicate = false;  // an earlier request has its custom_id
};

class JobParser {
 public:
  enum class Taken {
    kNothing,     // an empty line
    kPassedOver,  // a line that is no entry
    kPart,        // the entry goes on in the next line
    kEntry,
  };

  virtual ~JobParser() = default;
  /// Takes a line, or a whole value of JSON. Where there is a mistake already, nothing is read but whose
  /// entry it is.
  virtual Taken Take(const std::string& text, ParsedEntry* entry) = 0;
  /// No further line belongs to the entry that Take left open.
  virtual void Abandon(ParsedEntry*) {}
  /// JobReader's.
  virtual std::vector<std::string> ignored_columns() const { return {}; }
};

/// Nothing but white space.
bool IsBlank(std::string_view line);

/// Whether a line of a list of prompts was meant as JSON: prompts of web UIs may have brackets and braces as
/// well.
bool LooksLikeJson(std::string_view line);

/// An entry's value, an object or a text. Mistakes: broken, something else.
nlohmann::json ParseValue(const std::string& text, ParsedEntry* entry);
/// The same where it must be an object.
nlohmann::json ParseObject(const std::string& text, ParsedEntry* entry);

std::unique_ptr<JobParser> MakeLinesParser();
std::unique_ptr<JobParser> MakeJsonParser();
std::unique_ptr<JobParser> MakeOpenAiParser();
std::unique_ptr<JobParser> MakeGenEvalParser();

/// Whether a line names columns, `prompt` among them.
bool IsCsvHeader(const std::string& line);
/// What Excel's first line "sep=;" says stands between cells.
std::optional<char> CsvSeparator(std::string_view line);
/// Reads the header, whose first line is `first` and further ones come from `next` (nothing: there is none).
/// No separator: whichever of , ; and tab it has most of. Errors (kBadData): no prompt, two columns for one
/// field, too many of them, a quotation that is not closed; `next`'s.
Result<std::unique_ptr<JobParser>> MakeCsvParser(
    std::optional<char> separator, const std::string& first,
    const std::function<Result<std::optional<std::string>>()>& next);

/// The body of a request to /v1/chat/completions.
AnswerJob ReadChatBody(const nlohmann::json& body, std::string* model, Mistake* mistake);

}  // namespace bifrons
