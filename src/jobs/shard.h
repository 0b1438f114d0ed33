// One process's part of a list that several share.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "src/base/result.h"

namespace bifrons {

/// Every count-th entry of the list, from `index` on: the shards 0 … count-1 of any count are disjoint and
/// together the whole list.
struct Shard {
  int64_t index = 0, count = 1;

  bool Holds(int64_t position) const { return position % count == index; }
  /// Entries of a list of `entries` that are this shard's.
  int64_t SizeOf(int64_t entries) const { return (entries - index + count - 1) / count; }
  /// "2/8"
  std::string ToString() const { return std::to_string(index) + "/" + std::to_string(count); }
  /// "" of a whole list, else "-002-of-008": for names of files that shards must not share.
  std::string Suffix() const;
  bool operator==(const Shard&) const = default;
};

/// "2/8": the third of eight. Errors (kUsage).
Result<Shard> ParseShard(const std::string& text);

/// What a cluster tells a process about its part, and by which variable ("SLURM_ARRAY_TASK_ID").
struct EnvironmentShard {
  Shard shard;
  std::string source;
};

/// Slurm's job arrays (SLURM_ARRAY_TASK_ID, _MIN, _MAX, _COUNT, _STEP), else Kubernetes' Indexed Jobs
/// (JOB_COMPLETION_INDEX with BIFRONS_SHARD_COUNT), else RANK and WORLD_SIZE; none if none is set. Errors
/// (kUsage): values that are no part of a whole, which would lose jobs silently.
Result<std::optional<EnvironmentShard>> ShardFromEnvironment(
    const std::function<const char*(const char* name)>& variable);

}  // namespace bifrons
