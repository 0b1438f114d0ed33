// Shards of a list: disjoint and complete for any count, and as clusters name them.
#include "src/jobs/shard.h"

#include <catch2/catch.hpp>
#include <map>
#include <vector>

namespace bifrons {
namespace {

using Environment = std::map<std::string, std::string>;

Result<std::optional<EnvironmentShard>> From(const Environment& environment) {
  return ShardFromEnvironment([&](const char* name) -> const char* {
    const auto it = environment.find(name);
    return it == environment.end() ? nullptr : it->second.c_str();
  });
}

Shard ShardOf(const Environment& environment) {
  const auto shard = From(environment);
  REQUIRE(shard.ok());
  REQUIRE(shard->has_value());
  return (*shard)->shard;
}

std::string ErrorOf(const Environment& environment) {
  const auto shard = From(environment);
  REQUIRE_FALSE(shard.ok());
  CHECK(shard.error().kind == ErrorKind::kUsage);
  return shard.error().message;
}

TEST_CASE("shards are disjoint and complete") {
  for (int64_t count = 1; count <= 40; count++) {
    for (const int64_t entries : {0, 1, 2, 7, 39, 40, 41, 100}) {
      std::vector<int> holders(static_cast<size_t>(entries), 0);
      for (int64_t index = 0; index < count; index++) {
        const Shard shard{index, count};
        int64_t size = 0;
        for (int64_t position = 0; position < entries; position++)
          if (shard.Holds(position)) holders[static_cast<size_t>(position)]++, size++;
        INFO(shard.ToString() << " of " << entries);
        CHECK(shard.SizeOf(entries) == size);
      }
      for (const int holder : holders) CHECK(holder == 1);
    }
  }
}

TEST_CASE("a shard is written i/N") {
  const auto shard = ParseShard("2/8");
  REQUIRE(shard.ok());
  CHECK(*shard == Shard{2, 8});
  CHECK(shard->ToString() == "2/8");
  CHECK(shard->Suffix() == "-002-of-008");
  CHECK(Shard{}.Suffix().empty());
  CHECK(Shard{1234, 5000}.Suffix() == "-1234-of-5000");
  for (const std::string text : {"", "/", "1", "1/", "/2", "2/2", "-1/2", "0/0", "0/-1", " 0/2", "0/2 ",
                                 "0x0/2", "1.0/2", "0/2/3", "a/b", "0/99999999999999999999", "+0/2"}) {
    INFO(text);
    const auto bad = ParseShard(text);
    REQUIRE_FALSE(bad.ok());
    CHECK(bad.error().kind == ErrorKind::kUsage);
  }
}

TEST_CASE("no cluster, no shard") {
  const auto none = From({{"HOME", "/root"}});
  REQUIRE(none.ok());
  CHECK_FALSE(none->has_value());
}

TEST_CASE("Slurm's arrays, with any first number and step") {
  const auto task = [](int id, int least, int most, int step, int count) {
    Environment e = {{"SLURM_ARRAY_TASK_ID", std::to_string(id)},
                     {"SLURM_ARRAY_TASK_MIN", std::to_string(least)},
                     {"SLURM_ARRAY_TASK_MAX", std::to_string(most)},
                     {"SLURM_ARRAY_TASK_COUNT", std::to_string(count)},
                     {"SLURM_ARRAY_TASK_STEP", std::to_string(step)}};
    return e;
  };
  CHECK(ShardOf(task(0, 0, 3, 1, 4)) == Shard{0, 4});
  CHECK(ShardOf(task(7, 1, 10, 3, 4)) == Shard{2, 4});
  for (const int step : {1, 2, 5}) {
    for (const int least : {0, 1, 17}) {
      for (int i = 0; i < 6; i++)
        CHECK(ShardOf(task(least + i * step, least, least + 5 * step, step, 6)) == Shard{i, 6});
    }
  }
  Environment without_step = task(3, 1, 4, 1, 4);
  without_step.erase("SLURM_ARRAY_TASK_STEP");
  CHECK(ShardOf(without_step) == Shard{2, 4});

  // --array=1,3,7 and tasks that some other list of numbers was made of
  CHECK(ErrorOf(task(3, 1, 7, 1, 3)).find("no regular array") != std::string::npos);
  CHECK(ErrorOf(task(2, 1, 7, 3, 3)).find("no regular array") != std::string::npos);
  CHECK(ErrorOf(task(9, 1, 7, 1, 7)).find("no regular array") != std::string::npos);
  CHECK(ErrorOf({{"SLURM_ARRAY_TASK_ID", "1"}}).find("SLURM_ARRAY_TASK_MIN is not set") != std::string::npos);
  Environment word = task(1, 1, 4, 1, 4);
  word["SLURM_ARRAY_TASK_COUNT"] = "four";
  CHECK(ErrorOf(word).find("SLURM_ARRAY_TASK_COUNT=four is not a number") != std::string::npos);
  word["SLURM_ARRAY_TASK_COUNT"] = "";
  ErrorOf(word);
}

TEST_CASE("Kubernetes' indexed jobs, and plain ranks") {
  CHECK(ShardOf({{"JOB_COMPLETION_INDEX", "3"}, {"BIFRONS_SHARD_COUNT", "5"}}) == Shard{3, 5});
  CHECK(ErrorOf({{"JOB_COMPLETION_INDEX", "3"}}).find("BIFRONS_SHARD_COUNT is not set") != std::string::npos);
  ErrorOf({{"JOB_COMPLETION_INDEX", "5"}, {"BIFRONS_SHARD_COUNT", "5"}});
  ErrorOf({{"JOB_COMPLETION_INDEX", "-1"}, {"BIFRONS_SHARD_COUNT", "5"}});
  ErrorOf({{"JOB_COMPLETION_INDEX", "0"}, {"BIFRONS_SHARD_COUNT", "0"}});

  CHECK(ShardOf({{"RANK", "0"}, {"WORLD_SIZE", "1"}}) == Shard{0, 1});
  CHECK(ShardOf({{"RANK", "6"}, {"WORLD_SIZE", "7"}}) == Shard{6, 7});
  CHECK(ErrorOf({{"RANK", "6"}}).find("WORLD_SIZE is not set") != std::string::npos);
  CHECK(ErrorOf({{"WORLD_SIZE", "6"}}).find("RANK is not set") != std::string::npos);
  CHECK(ErrorOf({{"RANK", "7"}, {"WORLD_SIZE", "7"}}).find("from 0 to 6") != std::string::npos);

  // The array task is the part; ranks within it are Slurm's own.
  CHECK(ShardOf({{"SLURM_ARRAY_TASK_ID", "2"},
                 {"SLURM_ARRAY_TASK_MIN", "1"},
                 {"SLURM_ARRAY_TASK_MAX", "2"},
                 {"SLURM_ARRAY_TASK_COUNT", "2"},
                 {"RANK", "0"},
                 {"WORLD_SIZE", "1"}}) == Shard{1, 2});
}

}  // namespace
}  // namespace bifrons
