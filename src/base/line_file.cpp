#include "src/base/line_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "src/base/beneath.h"
#include "src/base/input_file.h"
#include "src/base/stop.h"

namespace bifrons {
namespace {

constexpr size_t kChunk = size_t{1} << 20;
constexpr size_t kMaxLine = size_t{1} << 30;  // an answer of many large pictures takes some 100 MB

// Of regular files alone; with O_NOFOLLOW of no link either.
Result<int> OpenLines(const std::string& path, int flags) {
  struct stat status {};
  if ((flags & O_NOFOLLOW) && ::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode)) {
    return Failure(
        path + ": is a symbolic link, which is not followed; move it away, or take another name or folder");
  }
  auto opened = OpenRegularFile(path, flags, 0666);
  if (!opened.ok()) return Failure(opened.error().message);
  return opened;
}

// Whether a text that ends within a line can be what is left of one of this kind. A whole value lacks no more
// than its line break, and is looked at as closely as any line.
bool CanBe(const LineKind& kind, const std::string& torn) {
  if (kind.beginning.starts_with(torn)) return true;
  return torn.starts_with(kind.beginning) && (!torn.ends_with('}') || kind.check(torn, 1, 0).ok());
}

std::string ReadAll(int fd, size_t size) {
  std::string text(size, '\0');
  const ssize_t n = ::pread(fd, text.data(), size, 0);
  text.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
  return text;
}

// Visits what `fd` holds from its beginning; the length of the whole lines. Read, not mapped: the owner may
// cut the file off meanwhile.
Result<off_t> Visit(int fd, const std::string& path, const LineVisitor& visit) {
  std::string text;  // from the beginning of a line on
  off_t whole = 0;
  int64_t number = 1;
  for (off_t at = 0;;) {
    const size_t rest = text.size();
    text.resize(rest + kChunk);
    const ssize_t n = ::pread(fd, text.data() + rest, kChunk, at);
    if (n < 0) return Failure(path + ": cannot read: " + std::strerror(errno));
    text.resize(rest + static_cast<size_t>(n));
    if (n == 0) return whole;
    if (StopRequested()) return Interrupted();
    at += n;
    size_t begin = 0;
    for (size_t end; (end = text.find('\n', std::max(begin, rest))) != std::string::npos; number++) {
      if (end > begin)
        BIFRONS_RETURN_IF_ERROR(visit(std::string_view(text).substr(begin, end - begin), number,
                                      whole + static_cast<off_t>(begin)));
      begin = end + 1;
    }
    text.erase(0, begin);
    if (text.size() > kMaxLine) {
      return DataError(path + ":" + std::to_string(number) + ": a line of more than " +
                       std::to_string(kMaxLine) + " bytes; move this file away");
    }
    whole += static_cast<off_t>(begin);
  }
}

}  // namespace

Status ReadLines(const std::string& path, const LineVisitor& visit) {
  BIFRONS_TRY(const int fd, OpenLines(path, O_RDONLY));
  const auto read = Visit(fd, path, visit);
  ::close(fd);
  return read.ok() ? Status() : Status(read.error());
}

Status ReadLinesBeneath(const std::string& folder, const std::string& relative, const LineVisitor& visit) {
  BIFRONS_TRY(const int fd, OpenBeneath(folder, relative, O_RDONLY | O_NONBLOCK));
  const std::string path = folder + "/" + relative;
  struct stat status {};
  const bool regular = ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  const auto read = regular ? Visit(fd, path, visit) : Result<off_t>(Failure(path + ": not a regular file"));
  ::close(fd);
  return read.ok() ? Status() : Status(read.error());
}

LineFile::LineFile(LineFile&& o) noexcept
    : path_(std::move(o.path_)), fd_(std::exchange(o.fd_, -1)), torn_(o.torn_) {}

LineFile::~LineFile() {
  if (fd_ >= 0) ::close(fd_);
}

Result<LineFile> LineFile::Open(const std::string& path, Mode mode, const LineVisitor& visit,
                                const LineKind& kind) {
  LineFile file;
  file.path_ = path;
  const bool own = mode == Mode::kOwn || mode == Mode::kNew;
  const int flags = (own ? O_NOFOLLOW : 0) | (mode == Mode::kNew ? O_EXCL : 0);
  BIFRONS_TRY(file.fd_, OpenLines(path, O_RDWR | O_CREAT | O_APPEND | flags));
  if (own && ::flock(file.fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return UsageError(path + ": another process is writing it");
    return Failure(path + ": cannot lock: " + std::strerror(errno));
  }
  if (mode == Mode::kEmpty && ::ftruncate(file.fd_, 0) != 0)
    return Failure(path + ": cannot empty: " + std::strerror(errno));
  int64_t lines = 0;
  const auto count = [&](std::string_view line, int64_t number, int64_t offset) {
    lines++;
    return visit(line, number, offset);
  };
  BIFRONS_TRY(const off_t whole, Visit(file.fd_, path, count));
  struct stat status {};
  if (::fstat(file.fd_, &status) != 0 || status.st_size <= whole) return file;
  if (lines == 0 && (whole > 0 || !CanBe(kind, ReadAll(file.fd_, static_cast<size_t>(status.st_size))))) {
    return DataError(path +
                     ": holds something that bifrons did not write; move it away, or take another "
                     "name or folder");
  }
  if (::ftruncate(file.fd_, whole) != 0)
    return Failure(path + ": cannot cut off its torn last line: " + std::strerror(errno));
  return file;
}

Status LineFile::Append(const std::string& line) {
  struct stat status {};
  if (::fstat(fd_, &status) == 0 && status.st_nlink == 0)
    return Failure(path_ + ": cannot write: it was removed meanwhile");
  if (torn_) return Failure(path_ + ": cannot write: an earlier line could not be written");
  // Not by a text of both: a line may be most of what memory holds.
  char line_break = '\n';
  const struct iovec parts[] = {{const_cast<char*>(line.data()), line.size()}, {&line_break, 1}};
  const ssize_t written = ::writev(fd_, parts, 2);
  if (written == static_cast<ssize_t>(line.size() + 1)) return {};
  torn_ = true;
  return Failure(path_ + ": cannot write: " + (written < 0 ? std::strerror(errno) : "the disk is full"));
}

Status LineFile::AppendAndSync(const std::string& line) {
  BIFRONS_RETURN_IF_ERROR(Append(line));
  if (::fdatasync(fd_) != 0) return Failure(path_ + ": cannot sync: " + std::strerror(errno));
  return {};
}

}  // namespace bifrons
