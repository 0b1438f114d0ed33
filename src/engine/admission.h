// Who may begin: a memory budget shared by pictures and answers, in the order of their asking.
//
// A request takes all the memory that it can come to need when it begins, so nothing that runs ever fails for
// want of it. Within a kind nobody overtakes, so a large request at the head waits only for those before it.
// Between the kinds the older head goes first; a room is kept for answers alone, so that a caption does not
// wait for a thousand pictures that were there before it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace bifrons {

enum class RequestKind { kPicture, kAnswer };

/// The request that is next of its kind.
struct Head {
  int64_t arrival = 0;  // later ones are greater
  size_t bytes = 0;     // that it takes
};

class Admission {
 public:
  struct Limits {
    size_t bytes = 0;                   // of everything that runs
    size_t kept_for_answers = 0;        // of these, not for pictures
    int64_t pictures = 0, answers = 0;  // that run at once
  };
  explicit Admission(const Limits& limits) : limits_(limits) {}

  /// Whether a request of so many bytes can begin at all, when nothing else runs.
  bool CanEver(size_t bytes) const { return bytes <= limits_.bytes; }

  /// Which of the heads may begin now; none when both have to wait.
  std::optional<RequestKind> Next(const std::optional<Head>& picture,
                                  const std::optional<Head>& answer) const;

  void Begin(RequestKind kind, size_t bytes);
  void End(RequestKind kind, size_t bytes);
  /// Memory that is no request's own, such as kept prefixes.
  void Take(size_t bytes) { shared_ += bytes; }
  void Return(size_t bytes) { shared_ -= bytes; }

  const Limits& limits() const { return limits_; }
  size_t used() const { return shared_ + pictures_.bytes + answers_.bytes; }
  int64_t pictures() const { return pictures_.count; }
  int64_t answers() const { return answers_.count; }

 private:
  struct Running {
    int64_t count = 0;
    size_t bytes = 0;
  };
  bool FitsPicture(size_t bytes) const;
  bool FitsAnswer(size_t bytes) const;
  bool FitsKeptRoom(const Head& answer, const Head& picture) const;

  Limits limits_;
  Running pictures_, answers_;
  size_t shared_ = 0;
};

}  // namespace bifrons
