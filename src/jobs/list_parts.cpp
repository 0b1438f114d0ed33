#include "src/jobs/list_parts.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "src/base/stop.h"
#include "src/jobs/list_counter.h"

namespace bifrons {
namespace {

// What the end of a request's URL may look like in JSON: slashes may have a backslash before them, and any
// character may be an escape, which nobody writes for letters, but who does is not to lose an answer.
struct Mention {
  std::string_view plain, escaped;
  bool In(std::string_view text) const {
    return text.find(plain) != text.npos || text.find(escaped) != text.npos;
  }
};
constexpr Mention kAnswers = {"chat/completions", "chat\\/completions"};
constexpr Mention kPictures = {"images/generations", "images\\/generations"};

// \u002f, or \u0041 to \u007a.
bool HasEscapedLetter(std::string_view text) {
  constexpr std::string_view kEscape = "\\u00";
  for (size_t at = 0; (at = text.find(kEscape, at)) != text.npos; at += kEscape.size()) {
    const std::string_view digits = text.substr(at + kEscape.size(), 2);
    if (digits.size() == 2 && ((digits[0] >= '4' && digits[0] <= '7') || digits == "2f" || digits == "2F"))
      return true;
  }
  return false;
}

}  // namespace

Result<ModelParts> PartsForJobs(const std::string& jobs, JobFormat format) {
  ModelParts parts;
  if (format != JobFormat::kOpenAi) return parts;  // others hold pictures only
  parts.understanding = true;
  if (!IsListFile(jobs)) return parts;
  const int fd = ::open(jobs.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return UsageError(jobs + ": cannot read: " + std::strerror(errno));
  constexpr size_t kChunk = size_t{1} << 20, kOverlap = 32;  // longer than what is looked for
  std::string text;
  bool pictures = false, answers = false;
  ssize_t n = 0;
  while (!(pictures && answers) && !StopRequested()) {
    text.erase(0, text.size() - std::min(text.size(), kOverlap));
    const size_t rest = text.size();
    text.resize(rest + kChunk);
    n = ::read(fd, text.data() + rest, kChunk);
    text.resize(rest + static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (n <= 0) break;
    if (HasEscapedLetter(text)) pictures = answers = true;
    pictures |= kPictures.In(text), answers |= kAnswers.In(text);
  }
  ::close(fd);
  if (n < 0) return UsageError(jobs + ": cannot read: " + std::strerror(errno));
  if (answers && !pictures) return kUnderstandingParts;
  parts.understanding = answers;
  return parts;
}

}  // namespace bifrons
