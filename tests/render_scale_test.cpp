// Lists and folders of any length: the first picture does not wait for the list, a restart not for its
// pictures, and neither takes much memory.
#include <sys/resource.h>

#include <chrono>

#include "src/jobs/failures.h"
#include "tests/fabricated.h"

namespace bifrons {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr double kSlower = 20;
#else
constexpr double kSlower = 1;
#endif

double Seconds(const timeval& t) {
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
}

// Of all programs that have ended: what else the machine does at the time is not in it.
double ProcessorSeconds() {
  rusage usage{};
  REQUIRE(getrusage(RUSAGE_CHILDREN, &usage) == 0);
  return Seconds(usage.ru_utime) + Seconds(usage.ru_stime);
}

double SecondsSince(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

struct List {
  const char* name;
  std::string head;
  std::string (*entry)(const std::string& prompt);
  std::string tail = {};
};

const List kLists[] = {
    {"lines", "", [](const std::string& p) { return p + "\n"; }},
    {"CSV", "prompt,seed\n", [](const std::string& p) { return p + ",7\n"; }},
    {"JSON", "", [](const std::string& p) { return "{\"prompt\": \"" + p + "\"}\n"; }},
    {"OpenAI", "",
     [](const std::string& p) {
       return "{\"custom_id\": \"request " + p +
              "\", \"method\": \"POST\", \"url\": \"/v1/images/generations\", \"body\": {\"prompt\": \"" + p +
              "\"}}\n";
     }},
    {"JSON array", "[\n", [](const std::string& p) { return "{\"prompt\": \"" + p + "\"},\n"; }, "]\n"},
};

void WriteList(const std::string& path, const List& list, int entries) {
  std::string text = list.head;
  for (int i = 0; i < entries; i++) text += list.entry("picture number " + std::to_string(i));
  WriteText(path, text + list.tail);
}

bool HasPicture(const Program& program) {
  return program.Printed().find("\"event\":\"picture\"") != std::string::npos;
}

void CheckLists(int entries, const std::string& shard, double seconds, int64_t more_bytes) {
  const TemporaryFolder folder;
  WriteText(folder / "one.txt", "a dog\n");
  const int64_t few =
      Summary(RunWell(Render(folder / "one.txt", folder / "one", {"--json"})))["memory_bytes"];
  for (const List& list : kLists) {
    INFO(list.name);
    const std::string jobs = folder / list.name, out = jobs + "-out";
    WriteList(jobs, list, entries);
    const auto begun = std::chrono::steady_clock::now();
    Program program(Render(jobs, out, {"--json", "--shard", shard}));
    CHECK(WaitFor(program, [&] { return HasPicture(program); }));
    CHECK(SecondsSince(begun) < seconds * kSlower);
    const ProgramResult result = program.Wait();
    INFO(result.err);
    REQUIRE(result.exit_code == 0);
    const json summary = Summary(result);
    CHECK(summary["memory_bytes"].get<int64_t>() - few < more_bytes * static_cast<int64_t>(kSlower));
    WARN(list.name << ": " << (summary["memory_bytes"].get<int64_t>() - few) / 1'000'000 << " MB more");
    // The header tells of the whole list in the end.
    json header;
    for (const auto& entry : fs::directory_iterator(out))
      if (entry.path().filename().string().starts_with("manifest"))
        for (const json& line : JsonLines(entry.path()))
          if (line.contains("bifrons_manifest")) header = line;
    CHECK((header["jobs"] == entries && header["results"] == entries && !header.contains("provisional")));
  }
}

TEST_CASE("lists of many lines in every format") { CheckLists(20'000, "3/1000", 5, 30'000'000); }
TEST_CASE("lists of a million lines in every format", "[.long]") {
  CheckLists(1'000'000, "0/1000", 5, 130'000'000);
}

void CheckTwoShards(int entries, double seconds) {
  const TemporaryFolder folder;
  const std::string jobs = folder / "jobs.jsonl", out = folder / "out";
  WriteList(jobs, kLists[2], entries);
  const auto begun = std::chrono::steady_clock::now();
  Program first(Render(jobs, out, {"--json", "--shard", "0/1000"}));
  Program second(Render(jobs, out, {"--json", "--shard", "1/1000"}));
  CHECK(WaitFor(first, [&] { return HasPicture(first); }));
  CHECK(WaitFor(second, [&] { return HasPicture(second); }));
  CHECK(SecondsSince(begun) < seconds * kSlower);
  CHECK((first.Wait().exit_code == 0 && second.Wait().exit_code == 0));
  // The same seeds, whoever was first.
  const json one = JsonLines(out + "/manifest-000-of-1000.jsonl")[0];
  const json other = JsonLines(out + "/manifest-001-of-1000.jsonl")[0];
  CHECK(one["seed"] == other["seed"]);
}

TEST_CASE("two shards of a folder start side by side") { CheckTwoShards(20'000, 6); }
TEST_CASE("two shards of a million lines start side by side", "[.long]") { CheckTwoShards(1'000'000, 6); }

void CheckRestart(int pictures, double seconds) {
  const TemporaryFolder folder;
  const std::string jobs = folder / "jobs.txt", out = folder / "out";
  WriteText(jobs, NumberedPrompts(pictures));
  FabricateFinished(out, pictures);
  const std::string manifest = ReadText(out + "/manifest.jsonl");
  double before = ProcessorSeconds();
  json summary = Summary(RunWell(Render(jobs, out, {"--json"})));
  const double restarted = ProcessorSeconds() - before;
  CHECK((summary["kept"] == pictures && summary["drawn"] == 0));
  CHECK(restarted < seconds * kSlower);
  // The same with every picture read.
  before = ProcessorSeconds();
  summary = Summary(RunWell(Render(jobs, out, {"--json", "--verify"})));
  CHECK((summary["kept"] == pictures && summary["drawn"] == 0));
  WARN(pictures << " pictures: " << restarted << " s, read " << ProcessorSeconds() - before
                << " s, of a processor");
  CHECK(ReadText(out + "/manifest.jsonl").starts_with(manifest));
}

TEST_CASE("a restart passes finished pictures quickly") { CheckRestart(5'000, 1.5); }
TEST_CASE("a restart over 100000 pictures", "[.long]") { CheckRestart(100'000, 8); }

TEST_CASE("merge of very many failures") {
  const TemporaryFolder folder;
  constexpr int kFailed = 40'000;
  ManifestHeader header;
  header.jobs = header.results = kFailed + 5, header.model_hash = "hash";
  WriteText(folder / "manifest.jsonl", HeaderLine(header) + "\n");
  std::string failed;
  for (int i = 0; i < kFailed; i++)
    failed += FailedLine({i, "jobs.txt line " + std::to_string(i + 1), "key" + std::to_string(i), "", "p",
                          UsageError("is not what it should be")}) +
              "\n";
  WriteText(folder / "failed.jsonl", failed);
  const double before = ProcessorSeconds();
  const ProgramResult merged = RunProgram({"merge", folder.path().string(), "--json"});
  CHECK(ProcessorSeconds() - before < kSlower);
  CHECK(merged.exit_code == 1);
  const json report = json::parse(merged.out);
  CHECK(report["failed"].size() == kFailed);
  CHECK(report["missing"].size() == 5);
}

}  // namespace
}  // namespace bifrons
