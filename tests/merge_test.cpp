// Merge reads what anybody may have written: in time and memory that its input's length decides, not its
// numbers.
#include "src/jobs/merge.h"

#include <chrono>

#include "src/base/sha256.h"
#include "src/jobs/content_key.h"
#include "src/jobs/list_counter.h"
#include "src/jobs/plan.h"
#include "src/jobs/shard.h"
#include "tests/run_program.h"

namespace bifrons {
namespace {

ManifestHeader Header(int64_t jobs) {
  ManifestHeader header;
  header.jobs = header.results = jobs, header.list = "list", header.model_hash = "hash";
  header.defaults = ToJson(JobDefaults{});
  return header;
}

ManifestRecord Answer(int64_t index, int64_t number = 0, int64_t of = 1) {
  ManifestRecord record;
  record.key = "key" + std::to_string(index), record.index = index, record.number = number, record.of = of;
  record.text = "yes";
  return record;
}

ManifestRecord Picture(const std::string& file, const std::string& contents, int64_t index = 0) {
  ManifestRecord record = Answer(index);
  record.file = file, record.sha256 = Sha256::Hex(contents);
  record.bytes = static_cast<int64_t>(contents.size());
  return record;
}

std::string Manifest(const ManifestHeader& header, const std::vector<ManifestRecord>& records = {}) {
  std::string text = HeaderLine(header) + "\n";
  for (const ManifestRecord& record : records) text += KeptLine(record) + "\n";
  return text;
}

MergeReport Report(const std::string& folder) {
  const auto begun = std::chrono::steady_clock::now();
  auto report = CheckFolders({.folders = {folder}});
  INFO((report.ok() ? "" : report.error().message));
  REQUIRE(report.ok());
  CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(10));  // not for ever
  return std::move(*report);
}

TEST_CASE("a list may be said to have any number of jobs") {
  const TemporaryFolder folder;
  ManifestHeader header = Header(int64_t{1} << 53);
  WriteText(folder / "manifest.jsonl", Manifest(header, {Answer(3), Answer(7), Answer(8)}));
  WriteText(folder / "failed.jsonl", FailedLine({5, "line 6", "k", "", "p", UsageError("no")}) + "\n" +
                                         FailedLine({100, "line 101", "l", "", "p", UsageError("no")}) +
                                         "\n");
  const MergeReport report = Report(folder.path().string());
  CHECK(ShownMissing(report.missing, 20) == "0-2, 4, 6, 9-99, 101-9007199254740991");
  CHECK_FALSE(report.complete);
  // All of JSON too, though not one by one.
  const ProgramResult json = RunProgram({"merge", folder.path().string(), "--json"});
  CHECK(json.exit_code == 1);
  const auto missing = nlohmann::json::parse(json.out)["missing"];
  CHECK(missing[0] == nlohmann::json{{"index", 0}});
  CHECK(missing.back() == nlohmann::json{{"index", 101}, {"last", 9007199254740991}});
}

TEST_CASE("a job may be said to have any number of pictures") {
  const TemporaryFolder folder;
  std::vector<ManifestRecord> records;
  constexpr int kJobs = 20'000;
  for (int i = 0; i < kJobs; i++) records.push_back(Answer(i, 4, 1'000'000));
  WriteText(folder / "manifest.jsonl", Manifest(Header(kJobs), records));
  const MergeReport report = Report(folder.path().string());
  REQUIRE(report.missing.size() == kJobs);
  CHECK(ShownMissing({report.missing[1]}, 20) == "1 (pictures 0-3 5-999999)");
  const ProgramResult json = RunProgram({"merge", folder.path().string(), "--json"});
  CHECK(json.out.size() < 30'000'000);
  CHECK(nlohmann::json::parse(json.out)["missing"].size() == kJobs);
}

TEST_CASE("shards of any number are told, those of very many as runs") {
  const auto shards = [](const std::vector<std::string>& there) {
    const TemporaryFolder folder;
    for (size_t i = 0; i < there.size(); i++) {
      ManifestHeader header = Header(10);
      header.shard = there[i];
      WriteText(folder / ("manifest-" + std::to_string(i) + ".jsonl"), Manifest(header));
    }
    return Report(folder.path().string()).missing_shards;
  };
  using Shards = std::vector<std::string>;
  CHECK(shards({"1/3"}) == Shards{"0/3", "2/3"});
  CHECK(shards({"1/4", "3/4"}) == Shards{"0/4", "2/4"});
  CHECK(shards({"0/1000000", "7/1000000"}) == Shards{"1-6/1000000", "8-999999/1000000"});
  CHECK(shards({"0/9000000000000000000", "x", "-1/2", "2/2", ""}).empty());
  Shards many;
  for (int i = 0; i < 300; i++) many.push_back("0/" + std::to_string(999'000 + i));
  CHECK(shards(many).size() == many.size());
}

TEST_CASE("nothing outside the folder is read") {
  const TemporaryFolder all;
  const std::string folder = all / "out";
  fs::create_directories(folder);
  const std::string secret = "secret";
  WriteText(all / "secret.png", secret);
  WriteText(folder + "/inside.png", secret);
  fs::create_symlink("../secret.png", folder + "/link.png");
  fs::create_symlink("inside.png", folder + "/fine.png");
  fs::create_symlink("..", folder + "/up");
  for (const std::string& file :
       {std::string("../secret.png"), all / "secret.png", std::string("a/../../secret.png")}) {
    WriteText(folder + "/manifest.jsonl", Manifest(Header(1), {Picture(file, secret)}));
    const auto report = CheckFolders({.folders = {folder}});
    REQUIRE_FALSE(report.ok());
    CHECK(report.error().kind == ErrorKind::kBadData);
    CHECK(report.error().message.find("manifest.jsonl:2: ") != std::string::npos);
    const ProgramResult merged = RunProgram({"merge", folder});
    CHECK(merged.exit_code == 3);
  }
  const auto damaged = [&](const std::string& file) {
    WriteText(folder + "/manifest.jsonl", Manifest(Header(1), {Picture(file, secret)}));
    return Report(folder).damaged.size();
  };
  CHECK(damaged("inside.png") == 0);
  CHECK(damaged("fine.png") == 0);
  CHECK(damaged("link.png") == 1);
  CHECK(damaged("up/secret.png") == 1);

  // Nor a manifest, nor what failed.
  WriteText(all / "manifest.jsonl", Manifest(Header(1)));
  fs::remove(folder + "/manifest.jsonl");
  fs::create_symlink("../manifest.jsonl", folder + "/manifest.jsonl");
  CHECK_FALSE(CheckFolders({.folders = {folder}}).ok());
  fs::remove(folder + "/manifest.jsonl");
  WriteText(folder + "/manifest.jsonl", Manifest(Header(1)));
  WriteText(all / "failed.jsonl", FailedLine({0, "line 1", "k", "", "p", UsageError("no")}) + "\n");
  fs::create_symlink("../failed.jsonl", folder + "/failed.jsonl");
  CHECK_FALSE(CheckFolders({.folders = {folder}}).ok());
}

TEST_CASE("failures that a list was rid of count no more") {
  const TemporaryFolder folder;
  const std::string list = folder / "list.jsonl", out = folder / "out";
  fs::create_directories(out);
  WriteText(list, "{\"prompt\":\"a dog\",\"seed\":1}\n{\"prompt\":3}\n");
  const auto jobs = [&] {
    std::vector<std::string> keys;
    KeyCounter counter;
    const ManifestHeader header = Header(2);
    const PlanModel model{.hash = header.model_hash, .width = header.width, .height = header.height};
    const auto visit = [&](const ListKeys::Entry& entry) {
      keys.push_back(entry.key);
      return true;
    };
    REQUIRE(ListKeys{list, {}, model}.Visit(visit).ok());
    return keys;
  };
  const auto write = [&](const std::vector<std::string>& keys) {
    std::vector<ManifestRecord> records;
    for (size_t i = 0; i < keys.size(); i++) {
      records.push_back(Answer(static_cast<int64_t>(i)));
      records.back().key = keys[i];
    }
    WriteText(out + "/manifest.jsonl", Manifest(Header(2), records));
  };
  const auto report = [&](const std::string& name) {
    auto checked = CheckFolders({.folders = {out}, .jobs = name});
    INFO((checked.ok() ? "" : checked.error().message));
    REQUIRE(checked.ok());
    return std::move(*checked);
  };
  // By another path, and of two parts that named it differently: once.
  write({jobs()[0]});
  const FailedJob bad{1, "list.jsonl line 2", "", "", "", DataError("prompt is no text")};
  FailedJob same = bad, job{5, "list.jsonl line 6", "k", "", "p", UsageError("no")}, again = job;
  same.where = "./list.jsonl line 2", again.where = "/a/list.jsonl line 6";
  WriteText(out + "/failed-0.jsonl", FailedLine(bad) + "\n" + FailedLine(job) + "\n");
  WriteText(out + "/failed-1.jsonl", FailedLine(same) + "\n" + FailedLine(again) + "\n");
  CHECK(report("").failed.size() == 2);
  MergeReport broken = report(list);
  CHECK(broken.failed.size() == 1);
  CHECK_FALSE(broken.complete);
  // Corrected, and the corrected entry finished.
  WriteText(list, "{\"prompt\":\"a dog\",\"seed\":1}\n{\"prompt\":\"a cat\",\"seed\":2}\n");
  MergeReport missing = report(list);
  CHECK(missing.failed.empty());
  CHECK(ShownMissing(missing.missing, 20) == "1");
  CHECK_FALSE(missing.complete);
  write(jobs());
  MergeReport corrected = report(list);
  CHECK(corrected.failed.empty());
  CHECK(corrected.complete);
  // A sheet is no entry of the list.
  const FailedJob sheet{0, "contact_sheet_001.png", "", "", "", UsageError("its sheet: no")};
  WriteText(out + "/failed-0.jsonl", FailedLine(sheet) + "\n");
  CHECK(report(list).failed.size() == 1);
  CHECK_FALSE(report(list).complete);
}

TEST_CASE("who was ended before it had read its list fits to the others") {
  const TemporaryFolder folder;
  ManifestHeader early = Header(0);
  early.jobs.reset(), early.results.reset(), early.list.clear(), early.provisional = true;
  early.shard = "0/2";
  WriteText(folder / "manifest-0.jsonl", Manifest(early, {Answer(0)}));
  MergeReport report = Report(folder.path().string());
  CHECK_FALSE(report.complete);
  CHECK_FALSE(report.expected);
  ManifestHeader whole = Header(2);
  whole.shard = "1/2";
  WriteText(folder / "manifest-1.jsonl", Manifest(whole, {Answer(1)}));
  report = Report(folder.path().string());
  CHECK(report.complete);
  CHECK(report.expected == 2);
}

TEST_CASE("results of earlier lists and settings are not taken for the last one's") {
  const TemporaryFolder folder;
  using Records = std::vector<ManifestRecord>;
  // A list of these jobs.
  const auto list = [](const std::string& name, const Records& records) {
    ManifestHeader header = Header(static_cast<int64_t>(records.size()));
    header.list = name;
    ResultSetDigest digest;
    for (const ManifestRecord& r : records) digest.Add(ResultDigest(KeyDigest(r.key), r.number));
    header.digest = digest.Text();
    return header;
  };
  const auto job = [](const std::string& key, int64_t index) {
    ManifestRecord record = Answer(index);
    record.key = key;
    return record;
  };
  const Records old = {Answer(0), Answer(1), Answer(2)}, changed = {job("a", 0), job("b", 1), job("c", 2)};
  const auto merged = [&](const std::string& manifests, int exit_code) {
    WriteText(folder / "manifest.jsonl", manifests);
    const ProgramResult result = RunProgram({"merge", folder.path().string()});
    INFO(result.out);
    CHECK(result.exit_code == exit_code);
    CHECK((result.out.find(": complete") != std::string::npos) == (exit_code == 0));
    CHECK((result.out.find("give --jobs LIST") != std::string::npos) == (exit_code == 1));
    return result.out;
  };
  const std::string before = Manifest(list("old", old), old);
  CHECK_THAT(merged(before, 0), Catch::Contains("3 of 3 results finished: complete"));
  // Ended at the first, in the middle, and through; and the old ones again.
  merged(before + Manifest(list("new", changed)), 1);
  CHECK_THAT(merged(before + Manifest(list("new", changed), {changed[0]}), 1),
             Catch::Contains("the last list comes to 3; cannot tell which of the 4 finished are its own"));
  const std::string through = before + Manifest(list("new", changed), changed);
  CHECK_THAT(merged(through, 0),
             Catch::Contains("3 of 3 results finished, 3 of other lists or settings: complete"));
  CHECK_THAT(merged(through + Manifest(list("old", old)), 0),
             Catch::Contains("3 of 3 results finished, 3 of other"));
  // One line altered, moved or added.
  const Records altered = {old[0], job("b", 1), old[2]}, turned = {old[2], old[1], old[0]};
  CHECK_THAT(merged(before + Manifest(list("altered", altered), {altered[1]}), 0),
             Catch::Contains("3 of 3 results finished, 1 of other"));
  CHECK_THAT(merged(before + Manifest(list("turned", turned)), 0),
             Catch::Contains("3 of 3 results finished: complete"));
  const Records grown = {job("d", 0), old[0], old[1], old[2]};
  CHECK_THAT(merged(before + Manifest(list("grown", grown), {grown[0]}), 0),
             Catch::Contains("4 of 4 results finished: complete"));
  merged(before + Manifest(list("grown", grown)), 1);
  merged(before + Manifest(list("shorter", {old[0]})), 1);  // it may be any of them
  // Of version 0.1, without a digest.
  merged(Manifest(Header(2), old), 1);
  ManifestHeader first = Header(3);
  first.list = "first";
  merged(Manifest(first, old) + Manifest(Header(3)), 1);
  merged(Manifest(Header(3), old), 0);
}

TEST_CASE("every manifest tells what it has finished, whatever others have") {
  const TemporaryFolder folder;
  const std::string a = folder / "a", b = folder / "b";
  for (const std::string& name : {a, b}) {
    fs::create_directories(name);
    WriteText(name + "/0.png", "same");
    WriteText(name + "/1.png", "of " + name);
  }
  const auto picture = [](const std::string& in, int64_t index) {
    return index == 0 ? Picture("0.png", "same") : Picture("1.png", "of " + in, 1);
  };
  ManifestRecord again = picture(a, 0);
  again.seed = 7;
  WriteText(a + "/manifest.jsonl", Manifest(Header(3), {again, picture(a, 0), picture(a, 1)}));
  WriteText(b + "/manifest.jsonl", Manifest(Header(3), {picture(b, 0), picture(b, 1), Answer(2)}));
  const std::string both = a + "/manifest.jsonl: 2 results finished\n" + b +
                           "/manifest.jsonl: 3 results finished\n3 of 3 results finished, 2 in more than one "
                           "manifest (the last counts), 1 duplicate line: complete\n";
  CHECK(RunWell({"merge", a, b}).out == both);
  const auto report = nlohmann::json::parse(RunWell({"merge", a, b, "--json"}).out);
  CHECK((report["repeated"] == 2 && report["manifests"][0]["finished"] == 2));
  // Of an earlier one only what is right.
  fs::remove(a + "/1.png");
  CHECK_THAT(RunWell({"merge", a, b}).out, Catch::StartsWith(a + "/manifest.jsonl: 1 result finished\n") &&
                                               Catch::Contains(", 1 in more than one manifest"));
}

TEST_CASE("jobs that failed are told, and are no reason to render again") {
  const TemporaryFolder folder;
  const std::string out = folder.path().string();
  ManifestHeader header = Header(5);
  header.results = 3;  // two entries are no jobs
  WriteText(folder / "manifest.jsonl", Manifest(header, {Answer(0), Answer(2), Answer(3)}));
  WriteText(folder / "failed.jsonl", FailedLine({1, "l line 2", "", "", "", UsageError("no")}) + "\n" +
                                         FailedLine({4, "l line 5", "", "", "", UsageError("no")}) + "\n");
  const ProgramResult failed = RunProgram({"merge", out});
  CHECK(failed.exit_code == 3);
  CHECK_THAT(failed.out, Catch::EndsWith("5 jobs: 3 finished, 2 failed (see failed*.jsonl)\n"));
  // A job that is one, and of which two pictures were drawn before it failed.
  header.results = 7;
  WriteText(folder / "manifest.jsonl",
            Manifest(header, {Answer(0), Answer(2), Answer(3), Answer(4, 0, 4), Answer(4, 1, 4)}));
  WriteText(folder / "failed.jsonl", FailedLine({1, "l line 2", "", "", "", UsageError("no")}) + "\n" +
                                         FailedLine({4, "l line 5", "k", "", "", UsageError("no")}) + "\n");
  CHECK(RunProgram({"merge", out}).exit_code == 3);
  WriteText(folder / "manifest.jsonl", Manifest(header, {Answer(0), Answer(3)}));
  const ProgramResult both = RunProgram({"merge", out});
  CHECK(both.exit_code == 1);
  CHECK_THAT(both.out, Catch::EndsWith("5 jobs: 2 finished, 2 failed (see failed*.jsonl): incomplete; render "
                                       "again with the same command\n"));
}

TEST_CASE("what a terminal is told has no control characters") {
  const TemporaryFolder folder;
  ManifestHeader header = Header(3);
  header.shard = "0/1\x1b[2J\u009b2J\r";
  WriteText(folder / "manifest.jsonl", Manifest(header));
  WriteText(folder / "failed.jsonl",
            FailedLine({0, "line\x1b[31m 1", "k", "", "p", UsageError("no\u009b31m\n")}) + "\n");
  const ProgramResult merged = RunProgram({"merge", folder.path().string()});
  CHECK(merged.exit_code == 1);
  CHECK(merged.out.find('\x1b') == std::string::npos);
  CHECK(merged.out.find("\u009b") == std::string::npos);
  CHECK(merged.out.find('\r') == std::string::npos);
}

TEST_CASE("one manifest of all holds every right line as it was, by index") {
  const TemporaryFolder folder;
  WriteText(folder / "manifest-0.jsonl", Manifest(Header(3), {Answer(2), Answer(0)}));
  WriteText(folder / "manifest-1.jsonl", Manifest(Header(3), {Answer(1), Answer(2)}));
  const auto report = CheckFolders({.folders = {folder.path().string()}, .keep_lines = true});
  REQUIRE(report.ok());
  CHECK(report->complete);
  CHECK(report->duplicates == 0);  // word for word the same
  const std::string path = folder / "merged";
  auto file = AtomicFile::Create(path);
  REQUIRE(file.ok());
  REQUIRE(WriteMergedManifest(*report, *file).ok());
  CHECK(ReadText(path) == Manifest(Header(3), {Answer(0), Answer(1), Answer(2)}));
}

TEST_CASE("a merged manifest away from its pictures says where they are to go") {
  const TemporaryFolder folder;
  const std::string a = folder / "a", b = folder / "b", c = folder / "c";
  const std::string contents = "contents";
  for (const std::string& name : {a, b, c}) fs::create_directories(name);
  WriteText(a + "/0.png", contents), WriteText(b + "/1.png", contents);
  WriteText(a + "/manifest.jsonl", Manifest(Header(3), {Picture("0.png", contents)}));
  WriteText(b + "/manifest-1.jsonl", Manifest(Header(3), {Picture("1.png", contents, 1)}));
  WriteText(c + "/manifest-2.jsonl", Manifest(Header(3), {Answer(2)}));  // nothing to copy
  const auto told = [&](const Arguments& folders, const std::string& output) {
    return RunWell(Join(Join({"merge"}, folders), {"--force", "-o", output})).err;
  };
  const std::string names = " names pictures without their folders: copy the pictures of ";
  CHECK(told({a, b, c}, folder / "all.jsonl") ==
        "bifrons: warning: " + (folder / "all.jsonl") + names + a + ", " + b +
            " beside all.jsonl; render goes on from it as manifest*.jsonl\n");
  CHECK(told({a, b, c}, a + "/manifest-all.jsonl") ==
        "bifrons: warning: " + a + "/manifest-all.jsonl" + names + b + " beside manifest-all.jsonl\n");
  fs::remove(a + "/manifest-all.jsonl");
  // All of it in one folder.
  fs::copy(b + "/1.png", a), fs::copy(b + "/manifest-1.jsonl", a);
  fs::copy(c + "/manifest-2.jsonl", a);
  CHECK(told({a}, a + "/all.jsonl").empty());
  CHECK(told({a, a + "/../a/"}, a + "/all.jsonl").empty());
}

}  // namespace
}  // namespace bifrons
