// One format's way from a line to a job; job_reader.cpp feeds them.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "src/jobs/job_fields.h"

namespace bifrons {

/// What a parser makes of an entry: a job, unless there is a mistake.
struct ParsedEntry {
  int64_t line = 0;              // where the entry begins, from 1
  Job job;                       // `index` and `where` are the reader's
  std::optional<int64_t> index;  // the entry's own
  Mistake mistake;
};

class JobParser {
 public:
  enum class Taken {
    kNothing,  // a line that is no entry
    kPart,     // the entry goes on in the next line
    kEntry,
  };

  virtual ~JobParser() = default;
  virtual Taken Take(const std::string& line, ParsedEntry* entry) = 0;
  /// No further line belongs to the entry that Take left open.
  virtual void Abandon(ParsedEntry*) {}
};

/// Nothing but white space.
bool IsBlank(std::string_view line);

/// Whether a line is meant as a JSON object; prompts of web UIs may begin with {red|blue} as well.
bool LooksLikeObject(std::string_view line);

/// A line's JSON object. Mistakes: broken, nested too deep, something else than an object.
nlohmann::json ParseObject(const std::string& line, Mistake* mistake);

std::unique_ptr<JobParser> MakeLinesParser();
std::unique_ptr<JobParser> MakeJsonParser();
std::unique_ptr<JobParser> MakeOpenAiParser();
std::unique_ptr<JobParser> MakeGenEvalParser();

/// Whether a line names columns, `prompt` among them.
bool IsCsvHeader(const std::string& line);
/// Errors (kBadData): no prompt, or two columns for one field.
Result<std::unique_ptr<JobParser>> MakeCsvParser(const std::string& header);

/// The body of a request to /v1/chat/completions.
AnswerJob ReadChatBody(const nlohmann::json& body, std::string* model, Mistake* mistake);

}  // namespace bifrons
