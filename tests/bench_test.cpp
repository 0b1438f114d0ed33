// What bench prints, in its three forms, and beside an earlier run. That it is fast is not tested.
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/refusal.h"

namespace bifrons {
namespace {

using Catch::Contains;

const std::string kModel = std::string(BIFRONS_TEST_DIR) + "/goldens/tiny-a/converted";

Arguments Bench(const Arguments& more) {
  return Join({"bench", "-m", kModel, "--rows", "2,5", "--position", "9", "--prompt-tokens", "7", "--repeats",
               "1", "-t", "1"},
              more);
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST_CASE("a run is compared with an earlier one, stage by stage") {
  const TemporaryFolder folder;
  const std::string text = RunWell(Bench({"--json"})).out;
  auto before = nlohmann::json::parse(text);
  CHECK(before["decode"][1]["rows"] == 5);
  CHECK(before["prefill"]["tokens"] == 7);
  CHECK(before["image"]["ms"] > 0);
  WriteText(folder / "before.json", text);

  const std::string table = RunWell(Bench({"--compare", folder / "before.json"})).out;
  for (const char* stage : {"prefill, 7 tokens", "decode step, 2 rows", "decode step, 5 rows",
                            "VQ decode, one picture", "seeing, one image"})
    CHECK_THAT(table, Contains(stage));
  CHECK_THAT(table, Contains("times as fast") && !Contains("not measured before") && !Contains("of another"));

  before["decode"][0]["ms"] = 1e6;
  before["decode"].erase(1);
  before["threads"] = 3;
  WriteText(folder / "before.json", before.dump());
  const std::string other = RunWell(Bench({"--compare", folder / "before.json"})).out;
  CHECK_THAT(other, Contains("before 1000000.00 ms") && Contains("not measured before") &&
                        Contains("before.json differs from this run in: threads\n"));

  const auto json =
      nlohmann::json::parse(RunWell(Bench({"--json", "--compare", folder / "before.json"})).out);
  REQUIRE(json["compared"].size() == 4);
  CHECK(json["compared"][1]["stage"] == "decode step, 2 rows");
  CHECK(json["compared"][1]["ms_before"] == 1e6);
  CHECK(json["compared"][1]["times_as_fast"] == 1e6 / json["decode"][0]["ms"].get<double>());
}

TEST_CASE("CSV has a line for each stage") {
  const TemporaryFolder folder;
  const auto lines = Lines(RunWell(Bench({"--csv"})).out);
  REQUIRE(lines.size() == 6);
  CHECK(lines[0] ==
        "stage,ms,gbs,gmacs,percent_of_limit,pictures_per_second,image_tokens_per_second,model,weights,dtype,"
        "kv,device,isa,threads");
  CHECK_THAT(lines[1], Contains(",,,\"converted\",\"bf16\",") && Catch::EndsWith(",1"));
  CHECK_THAT(lines[1], Catch::StartsWith("\"prefill, 7 tokens\","));
  CHECK_THAT(lines[2], Catch::StartsWith("\"decode step, 2 rows\","));
  WriteText(folder / "before.json", R"({"decode": [{"rows": 2, "ms": 8}]})");
  const auto compared = Lines(RunWell(Bench({"--csv", "--compare", folder / "before.json"})).out);
  CHECK(compared[0] == lines[0] + ",ms_before,times_as_fast");
  CHECK_THAT(compared[1], Catch::EndsWith(",,"));
  CHECK_THAT(compared[2], Contains(",8,"));
}

TEST_CASE("whole pictures are compared as well") {
  const TemporaryFolder folder;
  const Arguments pictures = {"bench", "-m", kModel, "--pictures", "1,2", "-t", "1"};
  WriteText(folder / "before.json", RunWell(Join(pictures, {"--json"})).out);
  const std::string table = RunWell(Join(pictures, {"--compare", folder / "before.json"})).out;
  CHECK_THAT(table, Contains("pictures/s") && Contains("times as fast") && !Contains("not measured before"));
  const auto lines = Lines(RunWell(Join(pictures, {"--csv"})).out);
  CHECK_THAT(lines[1], Catch::StartsWith("\"1 picture at once\",") && !Contains(",,\"converted\""));
  CHECK_THAT(lines[2], Catch::StartsWith("\"2 pictures at once\","));
}

TEST_CASE("what is no earlier run is refused") {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& contents, const std::string& says) {
    WriteText(folder / "before.json", contents);
    CheckRefused(Bench({"--compare", "before.json"}), kBadDataExit, says, folder.path());
  };
  const fs::path here = fs::current_path();
  fs::current_path(folder.path());
  refused("", "before.json");
  refused("[1]", "before.json");
  refused("{}", "before.json: has no measurement; it is to be what bench --json printed");
  refused(R"({"decode": 7, "prefill": [], "image": "x", "drawing": {"ms": -1}})", "has no measurement");
  refused(R"({"decode": [{"rows": "two", "ms": "3"}, 4, null], "image": {"ms": 1e999}})", "before.json");
  refused(std::string(2 << 20, ' ') + "{}", "before.json");
  CheckRefused(Bench({"--compare", "none.json"}), kBadDataExit, "none.json", folder.path());
  CheckRefused(Bench({"--csv", "--json"}), kUsageExit, "--csv", folder.path());
  fs::current_path(here);
}

}  // namespace
}  // namespace bifrons
