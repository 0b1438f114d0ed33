// Lines of a file or pipe, each as soon as it is complete.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/base/input_file.h"
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

  /// `path` may lead to a pipe, and be "-" for standard input. Errors (kUsage): InputStream::Open's.
  static Result<LineReader> Open(const std::string& path, size_t max_bytes = kMaxLineBytes);

  /// Waits for a line; nothing at the end. A last line needs no line break. Errors: InputStream::Read's.
  Result<std::optional<Line>> Next();

 private:
  LineReader(InputStream stream, size_t max_bytes) : stream_(std::move(stream)), max_bytes_(max_bytes) {}
  void Take(const char* bytes, size_t count);
  Line Complete();

  InputStream stream_;
  size_t max_bytes_;
  std::vector<char> buffer_ = std::vector<char>(size_t{64} << 10);
  size_t at_ = 0, filled_ = 0;  // unread: buffer_[at_, filled_)
  std::string text_;            // of the line so far
  bool too_long_ = false;
  int64_t number_ = 0;  // of the lines returned
};

}  // namespace bifrons
