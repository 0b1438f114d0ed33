// Job files, read line by line as they arrive; the format is recognised by content.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "src/jobs/job.h"

namespace bifrons {

enum class JobFormat {
  kLines,    // one prompt per line; A1111's --prompt "…" --seed 1 … lines may be among them
  kJson,     // JSON lines with our fields
  kOpenAi,   // OpenAI Batch: custom_id, method, url, body
  kCsv,      // a header line names the columns
  kGenEval,  // evaluation_metadata.jsonl: tag, include, prompt
};

/// An entry that is no job. The others go on.
struct BadJob {
  int64_t index = 0;
  std::string where;      // "jobs.jsonl line 12"
  std::string custom_id;  // "" where it could not be read
  Error error;            // without `where`
  std::string field;      // that is at fault, or ""
};

class JobReader {
 public:
  using Entry = std::variant<Job, BadJob>;

  /// Opens a job file, or standard input for "-". Errors: cannot be read (kUsage); a CSV header without a
  /// prompt (kBadData).
  static Result<std::unique_ptr<JobReader>> Open(const std::string& path);
  virtual ~JobReader() = default;

  /// The next entry, as soon as its line is complete; nothing at the end. Empty lines are skipped, and lines
  /// of prompts that begin with # as well. Errors: the file cannot be read any further (kFailure).
  virtual Result<std::optional<Entry>> Next() = 0;

  virtual JobFormat format() const = 0;
};

}  // namespace bifrons
