#include "src/jobs/line_reader.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace bifrons {

Result<LineReader> LineReader::Open(const std::string& path, size_t max_bytes) {
  auto stream = InputStream::Open(path);
  if (!stream.ok()) return UsageError(stream.error().message);
  return LineReader(std::move(*stream), max_bytes);
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
    BIFRONS_TRY(filled_, stream_.Read(buffer_));
    if (filled_ == 0) {
      if (text_.empty() && !too_long_) return std::optional<Line>();
      return std::optional(Complete());
    }
  }
}

}  // namespace bifrons
