// Lines of a file or pipe, each as soon as it is complete.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/base/result.h"

namespace bifrons {

/// Of one line, and of an entry that spans several. Room for a question with a few photographs inside.
constexpr size_t kMaxLineBytes = size_t{64} << 20;

class LineReader {
 public:
  struct Line {
    int64_t number = 0;     // from 1
    std::string text;       // without its line break, LF or CRLF; the first line's byte order mark is dropped
    bool too_long = false;  // more than the limit: `text` is empty
  };

  /// `path` may be "-" for standard input. Errors (kUsage): cannot be opened, is a folder.
  static Result<LineReader> Open(const std::string& path, size_t max_bytes = kMaxLineBytes);
  LineReader(LineReader&& o) noexcept;
  LineReader& operator=(LineReader&&) = delete;
  ~LineReader();

  /// Waits for a line; nothing at the end. A last line needs no line break. Errors: cannot be read
  /// (kFailure).
  Result<std::optional<Line>> Next();

 private:
  LineReader() = default;
  void Take(const char* bytes, size_t count);
  Line Complete();

  std::string name_;
  int fd_ = -1;
  bool owned_ = false;
  size_t max_bytes_ = 0;
  std::vector<char> buffer_;
  size_t at_ = 0, filled_ = 0;  // unread: buffer_[at_, filled_)
  std::string text_;            // of the line so far
  bool too_long_ = false;
  int64_t number_ = 0;  // of the lines returned
};

}  // namespace bifrons
