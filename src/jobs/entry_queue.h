// The entries of a job file, read ahead on a thread of their own: standard input may keep its reader waiting
// for hours, and nobody else.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <variant>

#include "src/jobs/job_reader.h"

namespace bifrons {

class EntryQueue {
 public:
  struct End {
    Status status;  // why nothing more can be read, if that is an error
  };
  /// An entry, the end, or nothing so far.
  using Item = std::variant<std::monostate, JobReader::Entry, End>;

  /// Reads a few entries ahead, from the first Pop on: until then its thread takes no memory for them.
  explicit EntryQueue(std::unique_ptr<JobReader> reader);
  /// A reader that waits for input is left to the end of the process, or to a requested stop.
  ~EntryQueue();
  EntryQueue(const EntryQueue&) = delete;
  EntryQueue& operator=(const EntryQueue&) = delete;

  /// The next item, waited for at most so many seconds. After the end there is nothing but the end.
  Item Pop(double seconds);
  /// JobReader::passed_over of what has been read.
  int64_t passed_over() const;

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<JobReader::Entry> entries;
    std::optional<Status> end;
    int64_t passed_over = 0;
    bool wanted = false, abandoned = false;
  };
  static void Read(const std::shared_ptr<State>& state, JobReader& reader);

  std::shared_ptr<State> state_;
  std::deque<JobReader::Entry> taken_;  // from the state, all at once
};

}  // namespace bifrons
