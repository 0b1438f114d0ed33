#include "src/jobs/line_reader.h"

#include <malloc.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace bifrons {
namespace {

constexpr size_t kBeginning = 4096;  // kept of what is not whole: enough to tell what it was meant to be
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

void ReleaseFreedMemory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

std::string NoMemoryToRead(const std::string& what, size_t bytes) {
  return "not enough memory to read this " + what + " of " + std::to_string(bytes) + " bytes";
}

void BoundedText::Append(std::string_view piece) {
  bytes_ += piece.size();
  if (state_ != State::kWhole) return;
  if (bytes_ > max_bytes_) {
    state_ = State::kTooLong;
    if (text_.size() < kBeginning) text_.append(piece.substr(0, kBeginning - text_.size()));
  } else {
    try {
      text_.append(piece);
      return;
    } catch (const std::bad_alloc&) {
      state_ = State::kNoMemory;
    }
  }
  text_.resize(std::min(text_.size(), kBeginning));
  text_.shrink_to_fit();
  if (state_ == State::kNoMemory) ReleaseFreedMemory();
}

std::string BoundedText::Take() {
  bytes_ = 0;
  state_ = State::kWhole;
  return std::exchange(text_, {});
}

std::string BoundedText::Problem(const std::string& what) const {
  switch (state_) {
    case State::kTooLong:
      return "the " + what + " is longer than " + std::to_string(max_bytes_ >> 20) + " MB";
    case State::kNoMemory:
      return NoMemoryToRead(what, bytes_);
    case State::kWhole:
      break;
  }
  return "";
}

Result<LineReader> LineReader::Open(const std::string& path, size_t max_bytes) {
  BIFRONS_TRY(InputStream stream, InputStream::Open(path));
  return LineReader(std::move(stream), max_bytes);
}

// Adds what one read gives to what is unread.
Status LineReader::Fill() {
  if (at_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + at_, filled_ - at_);
    filled_ -= std::exchange(at_, 0);
  }
  if (filled_ == buffer_.size()) buffer_.resize(2 * buffer_.size());
  BIFRONS_TRY(const size_t count, stream_.Read(std::span(buffer_).subspan(filled_)));
  filled_ += count;
  ended_ = count == 0;
  return {};
}

Status LineReader::Begin() {
  while (!begun_) {
    const std::string_view unread(buffer_.data(), filled_);
    if (unread.starts_with(kByteOrderMark)) at_ = kByteOrderMark.size();
    begun_ = ended_ || unread.size() >= kByteOrderMark.size() || !kByteOrderMark.starts_with(unread);
    if (!begun_) BIFRONS_RETURN_IF_ERROR(Fill());
  }
  return {};
}

Result<std::string_view> LineReader::Peek(size_t known) {
  BIFRONS_RETURN_IF_ERROR(Begin());
  while (filled_ - at_ <= known && !ended_) BIFRONS_RETURN_IF_ERROR(Fill());
  return std::string_view(buffer_.data() + at_, filled_ - at_);
}

Result<std::optional<std::string_view>> LineReader::NextPiece() {
  BIFRONS_TRY(std::string_view piece, Peek(0));
  if (piece.empty()) return std::optional<std::string_view>();
  if (const size_t end = piece.find('\n'); end != std::string_view::npos) {
    piece = piece.substr(0, end + 1);
    number_++;
  }
  at_ += piece.size();
  return std::optional(piece);
}

LineReader::Line LineReader::Complete() {
  Line line{number_, {}, text_.bytes(), text_.Problem("line")};
  line.text = text_.Take();
  if (line.text.ends_with('\r')) line.text.pop_back();
  return line;
}

Result<std::optional<LineReader::Line>> LineReader::Next() {
  for (;;) {
    BIFRONS_TRY(std::optional<std::string_view> piece, NextPiece());
    if (!piece) {
      if (text_.bytes() == 0) return std::optional<Line>();
      number_++;
      return std::optional(Complete());
    }
    const bool whole = piece->ends_with('\n');
    if (whole) piece->remove_suffix(1);
    text_.Append(*piece);
    if (whole) return std::optional(Complete());
  }
}

}  // namespace bifrons
