// The answers to an OpenAI Batch file, in a file that restarts complete.
#pragma once

#include <functional>
#include <string>

#include "src/base/digest_map.h"
#include "src/base/line_file.h"
#include "src/base/result.h"

namespace bifrons {

class BatchOutput {
 public:
  /// Whether an answer that is there, with its AnswerRequestId, still counts.
  using Keep = std::function<bool(const std::string& custom_id, const std::string& request_id)>;

  /// Opens `name` in `folder`. Requests count as answered if any output*.jsonl of the folder has a success
  /// for them and `keep` says so; other lines of this file (errors, and answers that `keep` refuses) are
  /// dropped, as their requests are tried again. Errors: kBadData where a line is no answer, or in this file
  /// not one that was written here: it stays as it is; kFailure.
  static Result<BatchOutput> Open(const std::string& folder, const std::string& name, const Keep& keep);

  bool IsAnswered(const std::string& custom_id) const { return answered_.Contains(DigestOf(custom_id)); }
  // On the disk when these return.

  Status AppendAnswer(const std::string& custom_id, const std::string& line);
  /// The same for a request that was refused or failed. A custom_id gets one such line.
  Status AppendRefusal(const std::string& custom_id, const std::string& line);
  /// Once nothing more is appended: takes out the refusals of requests whose custom_id had an answer
  /// afterwards, so that every custom_id has one line.
  Status Finish();

 private:
  BatchOutput(LineFile file, DigestSet answered) : file_(std::move(file)), answered_(std::move(answered)) {}
  LineFile file_;
  DigestSet answered_;              // custom ids
  DigestSet refused_, superseded_;  // custom ids, by this process
};

}  // namespace bifrons
