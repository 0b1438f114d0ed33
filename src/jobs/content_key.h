// The key by which finished jobs are known again, in this run's list and in every later one's.
#pragma once

#include <string>
#include <string_view>

#include "src/base/digest_map.h"
#include "src/jobs/plan.h"

namespace bifrons {

/// 32 hexadecimal digits of a hash over what decides the job's pictures or answer; the job's place in the
/// list is not among it, so that a line can be inserted and the others stay what they are. A size is, unless
/// it is the model's.
std::string ContentKey(const Job& job, const JobDefaults& defaults, JobFormat format, const PlanModel& model);

/// A key in 16 bytes: its own digits, or a digest where it has more to it.
Digest16 KeyDigest(std::string_view key);
/// Of one of the job's pictures, or of its answer (0).
Digest16 ResultDigest(Digest16 key, int64_t number);

/// A digest of a set of results, whatever their order.
class ResultSetDigest {
 public:
  /// Each once; `result` is ResultDigest's.
  void Add(Digest16 result);
  /// 32 hexadecimal digits.
  std::string Text() const;

 private:
  Digest16 sum_;
};

/// Tells entries of equal content apart, by their order: the second gets "#2" behind its key.
class KeyCounter {
 public:
  std::string Unique(const std::string& content_key);
  size_t bytes() const { return seen_.bytes() + again_.bytes(); }

 private:
  DigestSet seen_;
  DigestMap<int64_t> again_;  // how often, of those that came more than once
};

}  // namespace bifrons
