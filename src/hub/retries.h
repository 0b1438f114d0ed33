// Which failures of a request may pass, and how long to wait before it is tried again.
#pragma once

#include <functional>
#include <string>

#include "src/hub/http.h"

namespace bifrons {

class Retries {
 public:
  /// `say` gets a line when it is long until the next attempt.
  explicit Retries(std::function<void(const std::string&)> say) : say_(std::move(say)) {}

  /// Something came: whatever failed before is forgotten.
  void Progressed() { failures_ = 0, reached_ = true; }

  /// After a response that is not what was wanted: waits and returns true where another attempt may go
  /// better, false where not, or not within the patience there is: four failures without anything new, waits
  /// of half a second, doubled each time; five waits that the hub itself asks for (status 429), none longer
  /// than five minutes. An address elsewhere that refuses has expired, and the hub gives another. Errors:
  /// Interrupted().
  Result<bool> Again(const HttpResponse& response);

 private:
  std::function<void(const std::string&)> say_;
  int failures_ = 0, asked_to_wait_ = 0;
  bool reached_ = false;  // whether the hub has answered at all
};

/// Seconds that an answer with status 429 or 503 asks to wait: its Retry-After, or what the hub's RateLimit
/// says ("api";r=0;t=55); -1 where neither tells.
double AskedWait(const HttpResponse& response);

/// Waits. Errors: Interrupted().
Status WaitSeconds(double seconds);

}  // namespace bifrons
