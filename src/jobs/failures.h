// Jobs that cannot be done, each with its reason, in a file beside the manifest: those of the last run, as a
// restart tries them again.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "src/base/line_file.h"
#include "src/base/result.h"
#include "src/jobs/job.h"

namespace bifrons {

struct FailedJob {
  int64_t index = 0;
  std::string where;                   // "jobs.txt line 12"
  std::string key, custom_id, prompt;  // "" where they are not known
  Error error;
};

/// A job with what is known of it.
FailedJob FailedOf(const Job& job, const std::string& key, const Error& error);

/// One line of JSON.
std::string FailedLine(const FailedJob& failed);

/// For ReadLines: told about every failed job. Errors (kBadData): a line that is none.
LineVisitor FailedLines(const std::string& path, const std::function<void(FailedJob)>& visit);

class FailedFile {
 public:
  /// Removes what an earlier run left; the file is there when the first job has failed. Errors: kBadData
  /// where what is there is no such file, and stays; kFailure.
  static Result<FailedFile> Open(const std::string& path);
  Status Append(const FailedJob& failed);

 private:
  explicit FailedFile(std::string path) : path_(std::move(path)) {}
  std::string path_;
  std::optional<LineFile> file_;
};

}  // namespace bifrons
