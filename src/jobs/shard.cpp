#include "src/jobs/shard.h"

#include <charconv>
#include <cstdio>

#include "src/base/printable.h"

namespace bifrons {
namespace {

constexpr int64_t kMostShards = 1'000'000;

bool ParseWhole(std::string_view text, int64_t* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

// Reads variables; the first thing that is wrong stays.
class Variables {
 public:
  explicit Variables(const std::function<const char*(const char*)>& variable) : variable_(variable) {}

  bool IsSet(const char* name) const { return variable_(name) != nullptr; }
  int64_t Number(const char* name, int64_t least, int64_t most) {
    const char* const text = variable_(name);
    int64_t value = least;
    if (!error_.empty()) return value;
    if (!text) {
      error_ = std::string(name) + " is not set";
    } else if (!ParseWhole(text, &value) || value < least || value > most) {
      error_ = std::string(name) + "=" + Printable(text) + " is not a number from " + std::to_string(least) +
               " to " + std::to_string(most);
    }
    return value;
  }
  void Refuse(const std::string& reason) {
    if (error_.empty()) error_ = reason;
  }
  const std::string& error() const { return error_; }

 private:
  const std::function<const char*(const char*)>& variable_;
  std::string error_;
};

// https://slurm.schedmd.com/job_array.html: tasks MIN, MIN + STEP, … MAX
Shard SlurmShard(Variables& v) {
  constexpr int64_t kMostTasks = int64_t{1} << 31;
  const int64_t id = v.Number("SLURM_ARRAY_TASK_ID", 0, kMostTasks);
  const int64_t least = v.Number("SLURM_ARRAY_TASK_MIN", 0, kMostTasks);
  const int64_t most = v.Number("SLURM_ARRAY_TASK_MAX", 0, kMostTasks);
  const int64_t count = v.Number("SLURM_ARRAY_TASK_COUNT", 1, kMostShards);
  const int64_t step =
      v.IsSet("SLURM_ARRAY_TASK_STEP") ? v.Number("SLURM_ARRAY_TASK_STEP", 1, kMostTasks) : 1;
  if (!v.error().empty()) return {};
  const bool regular = id >= least && id <= most && (id - least) % step == 0 && (most - least) % step == 0 &&
                       (most - least) / step + 1 == count;
  if (!regular) {
    v.Refuse("SLURM_ARRAY_TASK_ID=" + std::to_string(id) + " of " + std::to_string(count) + " tasks from " +
             std::to_string(least) + " to " + std::to_string(most) + " by " + std::to_string(step) +
             " is no regular array");
  }
  return {(id - least) / step, count};
}

Shard CountedShard(Variables& v, const char* index, const char* count) {
  const int64_t n = v.Number(count, 1, kMostShards);
  return {v.Number(index, 0, n - 1), n};
}

}  // namespace

std::string Shard::Suffix() const {
  if (count == 1) return "";
  char suffix[64];
  std::snprintf(suffix, sizeof suffix, "-%03lld-of-%03lld", static_cast<long long>(index),
                static_cast<long long>(count));
  return suffix;
}

Result<Shard> ParseShard(const std::string& text) {
  const size_t slash = text.find('/');
  Shard shard;
  const bool parsed = slash != std::string::npos &&
                      ParseWhole(std::string_view(text).substr(0, slash), &shard.index) &&
                      ParseWhole(std::string_view(text).substr(slash + 1), &shard.count);
  if (!parsed || shard.count < 1 || shard.count > kMostShards || shard.index < 0 ||
      shard.index >= shard.count) {
    return UsageError("--shard " + Printable(text) + ": must be i/N with i from 0 to N-1, as in 0/4 … 3/4");
  }
  return shard;
}

Result<std::optional<EnvironmentShard>> ShardFromEnvironment(
    const std::function<const char*(const char* name)>& variable) {
  Variables v(variable);
  EnvironmentShard found;
  if (v.IsSet("SLURM_ARRAY_TASK_ID")) {
    found = {SlurmShard(v), "SLURM_ARRAY_TASK_ID"};
  } else if (v.IsSet("JOB_COMPLETION_INDEX")) {
    found = {CountedShard(v, "JOB_COMPLETION_INDEX", "BIFRONS_SHARD_COUNT"), "JOB_COMPLETION_INDEX"};
  } else if (v.IsSet("RANK") || v.IsSet("WORLD_SIZE")) {
    found = {CountedShard(v, "RANK", "WORLD_SIZE"), "RANK"};
  } else {
    return std::optional<EnvironmentShard>();
  }
  if (!v.error().empty()) {
    return UsageError("the environment does not say which part of the list is this process's: " + v.error() +
                      "; give --shard i/N (0/1 for the whole list)");
  }
  return std::optional(found);
}

}  // namespace bifrons
