// The answers to an OpenAI Batch file, in a file that restarts complete.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "src/base/line_file.h"
#include "src/base/result.h"

namespace bifrons {

class BatchOutput {
 public:
  /// Opens `name` in `folder`. Requests count as answered if any output*.jsonl of the folder has a success
  /// for them and `keep` says so; other lines of this file (errors, and answers that `keep` refuses) are
  /// dropped, as their requests are tried again. Errors: kBadData where a line is no answer, or in this file
  /// not one that was written here: it stays as it is; kFailure.
  static Result<BatchOutput> Open(const std::string& folder, const std::string& name,
                                  const std::function<bool(const std::string& custom_id)>& keep);

  bool IsAnswered(const std::string& custom_id) const { return answered_.contains(custom_id); }
  /// On the disk when this returns.
  Status Append(const std::string& line) { return file_.AppendAndSync(line); }

 private:
  BatchOutput(LineFile file, std::set<std::string> answered)
      : file_(std::move(file)), answered_(std::move(answered)) {}
  LineFile file_;
  std::set<std::string> answered_;  // custom ids
};

}  // namespace bifrons
