#include "src/jobs/line_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

namespace bifrons {

Result<LineReader> LineReader::Open(const std::string& path, size_t max_bytes) {
  LineReader reader;
  reader.name_ = path == "-" ? "standard input" : path;
  reader.max_bytes_ = max_bytes;
  reader.buffer_.resize(size_t{64} << 10);
  if (path == "-") {
    reader.fd_ = STDIN_FILENO;
  } else {
    reader.fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    reader.owned_ = true;
    if (reader.fd_ < 0) return UsageError(path + ": cannot read: " + std::strerror(errno));
  }
  struct stat status {};
  if (::fstat(reader.fd_, &status) == 0 && S_ISDIR(status.st_mode))
    return UsageError(path + ": this is a folder; name a file, or - for standard input");
  return reader;
}

LineReader::LineReader(LineReader&& o) noexcept
    : name_(std::move(o.name_)),
      fd_(std::exchange(o.fd_, -1)),
      owned_(o.owned_),
      max_bytes_(o.max_bytes_),
      buffer_(std::move(o.buffer_)),
      at_(o.at_),
      filled_(o.filled_),
      text_(std::move(o.text_)),
      too_long_(o.too_long_),
      number_(o.number_) {}

LineReader::~LineReader() {
  if (owned_ && fd_ >= 0) ::close(fd_);
}

void LineReader::Take(const char* bytes, size_t count) {
  if (too_long_ || text_.size() + count > max_bytes_) {
    too_long_ = true;
    std::string().swap(text_);
  } else {
    text_.append(bytes, count);
  }
}

LineReader::Line LineReader::Complete() {
  Line line{++number_, std::exchange(text_, {}), std::exchange(too_long_, false)};
  if (line.text.ends_with('\r')) line.text.pop_back();
  if (number_ == 1 && line.text.starts_with("\xEF\xBB\xBF")) line.text.erase(0, 3);
  return line;
}

Result<std::optional<LineReader::Line>> LineReader::Next() {
  for (;;) {
    const std::string_view unread(buffer_.data() + at_, filled_ - at_);
    const size_t end = unread.find('\n');
    Take(unread.data(), std::min(end, unread.size()));
    if (end != std::string_view::npos) {
      at_ += end + 1;
      return std::optional(Complete());
    }
    at_ = filled_ = 0;
    const ssize_t count = ::read(fd_, buffer_.data(), buffer_.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Failure(name_ + ": cannot read: " + std::strerror(errno));
    if (count == 0) {
      if (text_.empty() && !too_long_) return std::optional<Line>();
      return std::optional(Complete());
    }
    filled_ = static_cast<size_t>(count);
  }
}

}  // namespace bifrons
