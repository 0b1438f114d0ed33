#include "src/jobs/list_parts.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
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

// The field of a job, by this name in every format; some take letters of any size, or a dash.
bool MentionsCandidates(std::string_view text) {
  constexpr std::string_view kCandidates = "best_of";
  const auto same = [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a == '-' ? '_' : a) == b;
  };
  return !std::ranges::search(text, kCandidates, same).empty();
}

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

// What a list's text has in it.
struct Mentioned {
  bool pictures = false, answers = false, candidates = false;
  bool all() const { return pictures && answers && candidates; }
};

Result<Mentioned> Read(const std::string& jobs, Mentioned mentioned) {
  const int fd = ::open(jobs.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return DataError(jobs + ": cannot read: " + std::strerror(errno));
  // Small pieces: glibc, given a large one back, takes its successors from the heap, where memory is short.
  constexpr size_t kChunk = size_t{1} << 16, kOverlap = 32;  // longer than what is looked for
  std::string text;
  ssize_t n = 0;
  while (!mentioned.all() && !StopRequested()) {
    text.erase(0, text.size() - std::min(text.size(), kOverlap));
    const size_t rest = text.size();
    text.resize(rest + kChunk);
    n = ::read(fd, text.data() + rest, kChunk);
    text.resize(rest + static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (n <= 0) break;
    if (HasEscapedLetter(text)) mentioned = {true, true, true};
    mentioned.pictures |= kPictures.In(text), mentioned.answers |= kAnswers.In(text);
    mentioned.candidates |= MentionsCandidates(text);
  }
  ::close(fd);
  if (n < 0) return DataError(jobs + ": cannot read: " + std::strerror(errno));
  return mentioned;
}

}  // namespace

Result<ModelParts> PartsForJobs(const std::string& jobs, JobFormat format, std::optional<int> best_of) {
  ModelParts parts;
  const bool requests = format == JobFormat::kOpenAi;  // others hold pictures only
  parts.understanding = requests || best_of;
  if (!IsListFile(jobs)) return parts;
  Mentioned known;
  known.candidates = best_of.value_or(1) > 1;
  if (!requests) known.pictures = known.answers = true;
  BIFRONS_TRY(const Mentioned mentioned, Read(jobs, known));
  if (requests && mentioned.answers && !mentioned.pictures) return kUnderstandingParts;
  parts.understanding = mentioned.candidates || (requests && mentioned.answers);
  return parts;
}

}  // namespace bifrons
