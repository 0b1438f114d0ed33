// Manifests: what they hold is found again, whatever a killed process left of the last line.
#include "src/jobs/manifest.h"

#include <thread>

#include "src/jobs/output_folder.h"
#include "src/jobs/content_key.h"
#include "src/jobs/plan.h"
#include "src/jobs/shard.h"
#include "tests/run_program.h"

namespace bifrons {
namespace {

ManifestRecord Picture(const std::string& key, int64_t number, const std::string& file) {
  ManifestRecord record;
  record.key = key, record.number = number, record.of = 2, record.index = 7;
  record.where = "jobs.txt line 8", record.seed = 40 + static_cast<uint64_t>(number);
  record.file = file, record.sha256 = std::string(64, 'a'), record.bytes = 1234;
  return record;
}

PictureDetails Details() {
  PictureDetails details;
  details.settings.prompt = "a \"cat\"\n猫";
  details.settings.sampling.temperature = 0.7f;
  details.settings.width = details.settings.height = 48, details.settings.upscale = 2;
  details.format = "png";
  return details;
}

ManifestHeader Header() {
  ManifestHeader header;
  header.jobs = 10, header.results = 20, header.list = "abc", header.model_hash = "0123", header.model = "m";
  header.version = "v", header.defaults = ToJson(JobDefaults{});
  return header;
}

TEST_CASE("what was finished is found again, wherever the last line was torn") {
  const TemporaryFolder folder;
  const std::string path = folder / "manifest.jsonl";
  const std::string whole =
      HeaderLine(Header()) + "\n" + PictureLine(Picture("k", 0, "a.png"), Details()) + "\n";
  ManifestRecord answer = Picture("q", 0, "");
  answer.text = "a cat", answer.complete = true, answer.prompt_tokens = 600, answer.tokens = 2;
  const std::string last = AnswerLine(answer, Details().settings, {}, 0.5);
  for (size_t torn = 0; torn < last.size(); torn += 7) {
    WriteText(path, whole + last.substr(0, torn));
    auto manifest = Manifest::Open(folder.path().string(), "manifest.jsonl");
    REQUIRE(manifest.ok());
    const ManifestRecord* const found = manifest->finished().Find("k", 0);
    REQUIRE(found);
    CHECK((found->file == "a.png" && found->seed == 40 && found->bytes == 1234 && found->of == 2));
    CHECK(manifest->finished().Find("k", 1) == nullptr);
    CHECK(manifest->finished().Find("q", 0) == nullptr);
    CHECK(*manifest->finished().OwnerOf("a.png") == "k");
    CHECK(manifest->finished().OwnerOf("b.png") == nullptr);
    REQUIRE(manifest->Append(last).ok());
    CHECK(ReadText(path) == whole + last + "\n");
  }
  auto manifest = Manifest::Open(folder.path().string(), "manifest.jsonl");
  REQUIRE(manifest.ok());
  const ManifestRecord* const found = manifest->finished().Find("q", 0);
  REQUIRE(found);
  CHECK((found->text == "a cat" && found->complete && found->prompt_tokens == 600 && found->tokens == 2));
}

TEST_CASE("numbers in lines are short, and sizes are those of the file") {
  const auto line = nlohmann::json::parse(PictureLine(Picture("k", 0, "a.png"), Details()));
  CHECK(line["temperature"].dump() == "0.7");
  CHECK((line["width"] == 96 && line["upscale"] == 2));
  CHECK(line["prompt"] == "a \"cat\"\n猫");
}

TEST_CASE("the seed base stays, and processes that share a folder share it") {
  const TemporaryFolder folder;
  uint64_t base = 0;
  {
    auto manifest = Manifest::Open(folder.path().string(), "manifest.jsonl");
    REQUIRE(manifest.ok());
    base = manifest->seed_base();
    CHECK(base <= static_cast<uint64_t>(kMaxSeed));
    REQUIRE(manifest->Begin(Header()).ok());
    const auto second = Manifest::Open(folder.path().string(), "manifest.jsonl");
    REQUIRE_FALSE(second.ok());
    CHECK(second.error().message.find("another process") != std::string::npos);
    auto other = Manifest::Open(folder.path().string(), "manifest-001-of-002.jsonl");
    REQUIRE(other.ok());
    CHECK(other->seed_base() == base);
  }
  auto manifest = Manifest::Open(folder.path().string(), "manifest.jsonl");
  REQUIRE(manifest.ok());
  CHECK(manifest->seed_base() == base);
  // The same run again adds nothing; a changed one says so.
  const std::string before = ReadText(folder / "manifest.jsonl");
  REQUIRE(manifest->Begin(Header()).ok());
  CHECK(ReadText(folder / "manifest.jsonl") == before);
  ManifestHeader changed = Header();
  changed.results = 21;
  REQUIRE(manifest->Begin(changed).ok());
  CHECK(ReadText(folder / "manifest.jsonl").size() > before.size());

  const TemporaryFolder elsewhere;
  auto fresh = Manifest::Open(elsewhere.path().string(), "manifest.jsonl");
  REQUIRE(fresh.ok());
  CHECK(fresh->seed_base() != base);
}

TEST_CASE("processes that start at once agree on the seeds") {
  for (int round = 0; round < 20; round++) {
    const TemporaryFolder folder;
    constexpr int kProcesses = 4;
    uint64_t bases[kProcesses] = {};
    std::vector<std::thread> processes;
    for (int i = 0; i < kProcesses; i++) {
      processes.emplace_back([&, i] {
        const auto out =
            OutputFolder::Open(folder / "out", "manifest" + Shard{i, kProcesses}.Suffix() + ".jsonl");
        if (out.ok() && (*out)->Begin(Header()).ok()) bases[i] = (*out)->seed_base();
      });
    }
    for (std::thread& process : processes) process.join();
    CHECK(bases[0] != 0);
    for (const uint64_t base : bases) CHECK(base == bases[0]);
  }
}

TEST_CASE("what is no manifest is refused, and left as it is") {
  const TemporaryFolder folder;
  const std::string path = folder / "manifest.jsonl", header = HeaderLine(Header()) + "\n";
  std::string other_version = header;
  other_version.replace(other_version.find(":1,"), 3, ":2,");
  std::string deep(200, '[');
  for (const std::string& text :
       {std::string("hello\n"), std::string("{}\n"), header + "{\"job\":\"k\"}\n", header + "[]\n",
        PictureLine(Picture("k", 0, "a"), Details()) + "\n", other_version, header + deep + "\n",
        std::string("{\"bifrons_manifest\":1}\n")}) {
    WriteText(path, text);
    const auto manifest = Manifest::Open(folder.path().string(), "manifest.jsonl");
    REQUIRE_FALSE(manifest.ok());
    CHECK(manifest.error().kind == ErrorKind::kBadData);
    CHECK(manifest.error().message.find("manifest.jsonl:") != std::string::npos);
    CHECK(ReadText(path) == text);
  }
}

Job PromptJob(const std::string& prompt) {
  Job job;
  job.picture.emplace();
  job.picture->prompt = prompt;
  return job;
}

TEST_CASE("a key is what decides the pictures") {
  const JobDefaults defaults;
  const std::string key = ContentKey(PromptJob("a"), defaults, JobFormat::kLines, "hash");
  CHECK(key.size() == 32);
  Job moved = PromptJob("a");
  moved.index = 5, moved.where = "elsewhere";
  CHECK(ContentKey(moved, defaults, JobFormat::kLines, "hash") == key);
  const auto differs = [&](auto change) {
    Job job = PromptJob("a");
    JobDefaults d;
    change(job, d);
    return ContentKey(job, d, JobFormat::kLines, "hash") != key;
  };
  CHECK(differs([](Job& j, JobDefaults&) { j.picture->prompt = "b"; }));
  CHECK(differs([](Job& j, JobDefaults&) { j.picture->seed = 0; }));
  CHECK(differs([](Job& j, JobDefaults&) { j.picture->images = 2; }));
  CHECK(differs([](Job& j, JobDefaults&) { j.picture->settings.guidance = 5; }));
  CHECK(differs([](Job& j, JobDefaults&) { j.picture->settings.min_p = 0; }));
  CHECK(differs([](Job& j, JobDefaults&) { j.picture->file = "x.png"; }));
  CHECK(differs([](Job& j, JobDefaults&) { j.picture->format = "jpg"; }));
  CHECK(differs([](Job&, JobDefaults& d) { d.seed = 0; }));
  CHECK(differs([](Job&, JobDefaults& d) { d.settings.temperature = 1; }));
  CHECK(differs([](Job&, JobDefaults& d) { d.upscale = 2; }));
  CHECK(differs([](Job&, JobDefaults& d) { d.format = PictureFormat::kWebp; }));
  CHECK(ContentKey(PromptJob("a"), defaults, JobFormat::kLines, "other") != key);
  // The same wherever it is said.
  JobDefaults by_default;
  by_default.seed = 3, by_default.images = 2;
  Job own = PromptJob("a");
  own.picture->seed = 3, own.picture->images = 2;
  CHECK(ContentKey(own, defaults, JobFormat::kLines, "hash") ==
        ContentKey(PromptJob("a"), by_default, JobFormat::kLines, "hash"));

  KeyCounter keys;
  CHECK(keys.Unique(key) == key);
  CHECK(keys.Unique("other") == "other");
  CHECK(keys.Unique(key) == key + "#2");
  CHECK(keys.Unique(key) == key + "#3");

  // The defaults survive the header, so that merge comes to the same keys.
  by_default.settings.top_k = 5, by_default.settings.guidance = 0.1f,
  by_default.format = PictureFormat::kJpeg;
  by_default.plot = {{"cfg", {"1", "2"}, {}}};
  const auto read = DefaultsFromJson(nlohmann::json::parse(ToJson(by_default).dump()));
  REQUIRE(read.ok());
  CHECK(ContentKey(own, *read, JobFormat::kLines, "h") ==
        ContentKey(own, by_default, JobFormat::kLines, "h"));
  CHECK_FALSE(DefaultsFromJson(nlohmann::json::parse("{\"seed\":\"x\"}")).ok());
}

TEST_CASE("derived seeds leave room for all of a job's pictures") {
  for (int i = 0; i < 1000; i++) {
    const std::string key = std::to_string(i);
    CHECK(DerivedSeed(1, key, 4) + 3 <= static_cast<uint64_t>(kMaxSeed));
    CHECK(DerivedSeed(1, key, kMaxSeed) <= 1);
    CHECK(DerivedSeed(1, key, 1) == DerivedSeed(1, key, 1));
    CHECK(DerivedSeed(1, key, 1) != DerivedSeed(2, key, 1));
  }
}

}  // namespace
}  // namespace bifrons
