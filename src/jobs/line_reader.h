// Lines of a file or pipe, each as soon as it is complete; or pieces of them, where lines may be of any
// length.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/input_file.h"
#include "src/base/result.h"

namespace bifrons {

/// Of one line, and of an entry that spans several. Room for a question with a few photographs inside.
constexpr size_t kMaxLineBytes = size_t{64} << 20;

/// A text that grows by pieces, up to a limit and as far as memory reaches. Beyond either only its beginning
/// is kept, and its length counted.
class BoundedText {
 public:
  enum class State { kWhole, kTooLong, kNoMemory };

  explicit BoundedText(size_t max_bytes) : max_bytes_(max_bytes) {}

  void Append(std::string_view piece);
  const std::string& text() const { return text_; }
  State state() const { return state_; }
  size_t bytes() const { return bytes_; }  // appended
  /// The text; an empty one begins.
  std::string Take();
  /// Why it is not whole, of a "line", an "entry", …; "" where it is.
  std::string Problem(const std::string& what) const;

 private:
  size_t max_bytes_;
  std::string text_;
  size_t bytes_ = 0;
  State state_ = State::kWhole;
};

/// "not enough memory to read this line of 25000000 bytes"
std::string NoMemoryToRead(const std::string& what, size_t bytes);
/// Returns what the allocator keeps of freed memory to the system: after a failure others need it.
void ReleaseFreedMemory();

class LineReader {
 public:
  struct Line {
    int64_t number = 0;   // from 1
    std::string text;     // without its line break, LF or CRLF
    size_t bytes = 0;     // its length, also where `text` is only its beginning
    std::string problem;  // why it is only that: longer than the limit, or than memory reaches
  };

  /// `path` may lead to a pipe, and be "-" for standard input. Errors: InputStream::Open's.
  static Result<LineReader> Open(const std::string& path, size_t max_bytes = kMaxLineBytes);

  // A byte order mark at the beginning is never part of what is read. Errors: InputStream::Read's.

  /// Waits for a line; nothing at the end. A last line needs no line break.
  Result<std::optional<Line>> Next();
  /// Waits for some of a line: up to its end, with its line break, or as far as it has arrived. Nothing at
  /// the end. Valid until the next call of any function.
  Result<std::optional<std::string_view>> NextPiece();
  /// What comes next, without taking it: more than `known` bytes, unless the input ends there.
  Result<std::string_view> Peek(size_t known);
  /// Of the line that comes next or whose pieces are being read, from 1.
  int64_t number() const { return number_ + 1; }

 private:
  LineReader(InputStream stream, size_t max_bytes) : stream_(std::move(stream)), text_(max_bytes) {}
  Status Begin();
  Status Fill();
  Line Complete();

  InputStream stream_;
  std::vector<char> buffer_ = std::vector<char>(size_t{64} << 10);
  size_t at_ = 0, filled_ = 0;  // unread: buffer_[at_, filled_)
  bool begun_ = false, ended_ = false;
  BoundedText text_;    // of the line so far
  int64_t number_ = 0;  // of the lines returned
};

}  // namespace bifrons
