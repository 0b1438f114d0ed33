#include "src/hub/retries.h"

#include <curl/curl.h>
#include <poll.h>

#include <charconv>
#include <chrono>
#include <ctime>

#include "src/base/stop.h"

namespace bifrons {
namespace {

constexpr int kMostFailures = 4, kMostAskedWaits = 5;
constexpr double kFirstWait = 0.5, kLongestWait = 300, kWorthSaying = 3;  // seconds

int NumberAt(std::string_view text) {
  int number = -1;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  return parsed.ec == std::errc() ? number : -1;
}

}  // namespace

double AskedWait(const HttpResponse& response) {
  const std::string after = response.header("retry-after");
  if (const int seconds = NumberAt(after); seconds >= 0) return seconds;
  if (const time_t date = curl_getdate(after.c_str(), nullptr); !after.empty() && date >= 0)
    return std::max(0.0, std::difftime(date, std::time(nullptr)));
  const std::string limit = response.header("ratelimit");
  const size_t at = limit.find(";t=");
  return at == limit.npos ? -1 : NumberAt(std::string_view(limit).substr(at + 3));
}

Status WaitSeconds(double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto end =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  while (Clock::now() < end && !StopRequested()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd stop{StopDescriptor(), POLLIN, 0};
    ::poll(&stop, 1, static_cast<int>(left));
  }
  if (StopRequested()) return Interrupted();
  return {};
}

Result<bool> Retries::Again(const HttpResponse& response) {
  const int status = response.status;
  const bool asked = status == 429 || (status == 503 && AskedWait(response) >= 0);
  if (status != 0) reached_ = true;
  double wait = 0;
  if (asked) {
    wait = AskedWait(response);
    if (wait < 0) wait = 1 << asked_to_wait_;
    if (++asked_to_wait_ > kMostAskedWaits || wait > kLongestWait) return false;
  } else {
    const bool cut = !response.cut.empty() && (response.reachable || reached_);
    const bool expired = response.elsewhere && status >= 400 && status < 500;
    // A whole answer here is one that ended early: it tells no length, or has the wrong one.
    const bool early = response.ok();
    if (!cut && !expired && !early && status < 500) return false;
    if (++failures_ > kMostFailures) return false;
    wait = kFirstWait * (1 << (failures_ - 1));
  }
  if (wait >= kWorthSaying)
    say_((asked ? "the hub asks to wait " : "trying again in ") + std::to_string(static_cast<int>(wait)) +
         " s");
  BIFRONS_RETURN_IF_ERROR(WaitSeconds(wait));
  return true;
}

}  // namespace bifrons
