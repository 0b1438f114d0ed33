// Files of lines that only grow: what a killed process leaves of its last line is cut off when the file is
// opened again.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "src/base/result.h"

namespace bifrons {

/// Told about a line without its line break, its number from 1, and, where it takes that as well, where in
/// the file it begins. An error ends the reading.
class LineVisitor {
 public:
  LineVisitor() = default;
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, LineVisitor>) LineVisitor(F visit) {
    if constexpr (std::is_invocable_v<F&, std::string_view, int64_t, int64_t>) {
      visit_ = std::move(visit);
    } else {
      visit_ = [visit = std::move(visit)](std::string_view line, int64_t number, int64_t) mutable -> Status {
        return visit(line, number);
      };
    }
  }
  Status operator()(std::string_view line, int64_t number, int64_t offset) const {
    return visit_(line, number, offset);
  }

 private:
  std::function<Status(std::string_view line, int64_t number, int64_t offset)> visit_;
};

/// By what the lines of a kind of file are known: how each begins (as "{\"index\":"), and what takes a whole
/// one and keeps nothing of it.
struct LineKind {
  std::string_view beginning;
  LineVisitor check;
};

/// Visits the whole lines of a file that another process may be appending to; a torn last one and empty ones
/// are skipped. Errors: cannot be read or is no regular file (kFailure), a line of more than 1 GiB
/// (kBadData), Interrupted(), the visitor's.
Status ReadLines(const std::string& path, const LineVisitor& visit);

/// The same of a file below a folder, where no link leads out of it. Errors: OpenBeneath's, besides.
Status ReadLinesBeneath(const std::string& folder, const std::string& relative, const LineVisitor& visit);

class LineFile {
 public:
  enum class Mode {
    kKeep,   // append to what is there
    kEmpty,  // begin anew
    kOwn,  // append, and keep other processes that use kOwn out while this object lives; no link is followed
    kNew,  // the same for a file that is not there yet
  };

  /// Opens or creates `path` and visits its lines; only then is a torn last line cut off. Where that is all
  /// there is, only if it can be one of this `kind`: it may be anybody's. Errors: not writable, or there
  /// although kNew, or no regular file (kFailure); owned by another process (kUsage); a torn line of somebody
  /// else (kBadData); Interrupted(); the visitor's.
  static Result<LineFile> Open(const std::string& path, Mode mode, const LineVisitor& visit,
                               const LineKind& kind);
  LineFile(LineFile&& o) noexcept;
  LineFile& operator=(LineFile&&) = delete;
  ~LineFile();

  /// Appends `line` and a line break by one write. After an error every further one fails, so that nothing
  /// follows a torn line. Errors: the system's; the file was removed meanwhile.
  Status Append(const std::string& line);
  /// The same, and it is on the disk when this returns.
  Status AppendAndSync(const std::string& line);

  const std::string& path() const { return path_; }

 private:
  LineFile() = default;
  std::string path_;
  int fd_ = -1;
  bool torn_ = false;
};

}  // namespace bifrons
