// What has to be known of a whole list, read beside the drawing: how long it is, and which.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <future>
#include <string>

#include "src/base/result.h"
#include "src/jobs/job_reader.h"
#include "src/jobs/plan.h"
#include "src/jobs/shard.h"

namespace bifrons {

/// Whether the list is a file, which can be read more than once.
bool IsListFile(const std::string& jobs);

/// The list's entries with their keys.
struct ListKeys {
  std::string jobs;  // a file
  JobDefaults defaults;
  PlanModel model;

  struct Entry {
    int64_t position = 0;
    const Job* job = nullptr;     // none: the entry is no job, or too big for the memory at hand
    const BadJob* bad = nullptr;  // none: it is one
    std::string key;
    int64_t results = 0;  // pictures, or 1 for an answer
  };
  /// Until the visitor returns false. Errors: JobReader's.
  Status Visit(const std::function<bool(const Entry&)>& visit) const;
};

/// Counts on a thread of its own.
class ListCounter {
 public:
  struct Count {
    int64_t jobs = 0;      // entries, bad ones included
    int64_t results = 0;   // pictures and answers
    int64_t expected = 0;  // of them the shard's
    std::string list;      // hash of all keys
    std::string digest;    // ResultSetDigest of all results
  };

  ListCounter(ListKeys keys, Shard shard);
  ~ListCounter();
  ListCounter(const ListCounter&) = delete;

  /// Whether it is through. From the first wait that was too short on, the counting leaves the cores to
  /// others.
  bool WaitFor(double seconds);
  /// Once it is through. Errors: JobReader's.
  Result<Count> Get() { return count_.get(); }

 private:
  Result<Count> Run();

  const ListKeys keys_;
  const Shard shard_;
  std::atomic<bool> abandoned_{false}, in_company_{false};
  std::future<Result<Count>> count_;
};

}  // namespace bifrons
