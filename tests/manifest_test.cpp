// Manifests: what they hold is found again, whatever a killed process left of the last line.
#include "src/jobs/manifest.h"

#include <thread>

#include "src/jobs/content_key.h"
#include "src/jobs/output_folder.h"
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
    const auto found = manifest->finished().Find("k", 0);
    REQUIRE(found);
    CHECK((found->file == "a.png" && found->seed == 40 && found->bytes == 1234 && found->of == 2));
    CHECK_FALSE(manifest->finished().Find("k", 1));
    CHECK_FALSE(manifest->finished().Find("q", 0));
    CHECK(manifest->finished().OwnerOf("a.png") == FinishedWork::MarkOf("k"));
    CHECK_FALSE(manifest->finished().OwnerOf("b.png"));
    REQUIRE(manifest->Append(last).ok());
    CHECK(ReadText(path) == whole + last + "\n");
  }
  auto manifest = Manifest::Open(folder.path().string(), "manifest.jsonl");
  REQUIRE(manifest.ok());
  const auto found = manifest->finished().Find("q", 0);
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
  const std::string path = folder.path().string();
  const auto base = FixSeeds(path, "manifest.jsonl", Header());
  REQUIRE(base.ok());
  CHECK(*base <= static_cast<uint64_t>(kMaxSeed));
  ManifestHeader header = Header();
  header.seed_base = *base;
  CHECK(ReadText(folder / "manifest.jsonl") == HeaderLine(header) + "\n");
  {
    const auto manifest = Manifest::Open(path, "manifest.jsonl");
    REQUIRE(manifest.ok());
    const auto second = Manifest::Open(path, "manifest.jsonl");
    REQUIRE_FALSE(second.ok());
    CHECK(second.error().message.find("another process") != std::string::npos);
    CHECK(second.error().message.find("give every process its --shard i/N") != std::string::npos);
    CHECK(*FixSeeds(path, "manifest-001-of-002.jsonl", Header()) == *base);
    CHECK(Manifest::Open(path, "manifest-001-of-002.jsonl").ok());
  }
  CHECK(*FixSeeds(path, "manifest.jsonl", Header()) == *base);
  // The same run again adds nothing; a changed one says so.
  auto manifest = Manifest::Open(path, "manifest.jsonl");
  REQUIRE(manifest.ok());
  const std::string before = ReadText(folder / "manifest.jsonl");
  REQUIRE(manifest->Begin(header).ok());
  CHECK(ReadText(folder / "manifest.jsonl") == before);
  // One that has not read its list yet says no less than it knew before.
  ManifestHeader provisional = header;
  provisional.jobs.reset(), provisional.results.reset(), provisional.list.clear();
  provisional.provisional = true;
  REQUIRE(manifest->Begin(provisional).ok());
  CHECK(ReadText(folder / "manifest.jsonl") == before);
  ManifestHeader changed = header;
  changed.results = 21;
  REQUIRE(manifest->Begin(changed).ok());
  CHECK(ReadText(folder / "manifest.jsonl") == before + HeaderLine(changed) + "\n");
  provisional.model_hash = "another";
  REQUIRE(manifest->Begin(provisional).ok());
  CHECK(ReadText(folder / "manifest.jsonl") ==
        before + HeaderLine(changed) + "\n" + HeaderLine(provisional) + "\n");
  changed.model_hash = "another";
  REQUIRE(manifest->Begin(changed).ok());
  CHECK(nlohmann::json::parse(HeaderLine(provisional))["provisional"] == true);

  const TemporaryFolder elsewhere;
  CHECK(*FixSeeds(elsewhere.path().string(), "manifest.jsonl", Header()) != *base);
}

TEST_CASE("processes that start at once agree on the seeds") {
  for (int round = 0; round < 20; round++) {
    const TemporaryFolder folder;
    constexpr int kProcesses = 4;
    uint64_t bases[kProcesses] = {};
    std::vector<std::thread> processes;
    for (int i = 0; i < kProcesses; i++) {
      processes.emplace_back([&, i] {
        const std::string name = "manifest" + Shard{i, kProcesses}.Suffix() + ".jsonl";
        const auto out = OutputFolder::Open(folder / "out", name, Header());
        if (out.ok()) bases[i] = (*out)->seed_base();
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

// A line about a picture or an answer with one member changed, or without it.
std::string Changed(const std::string& line, const char* name, const nlohmann::json& value) {
  auto changed = nlohmann::ordered_json::parse(line);
  if (value.is_discarded()) {
    changed.erase(name);
  } else {
    changed[name] = value;
  }
  return changed.dump();
}

TEST_CASE("every number and path of a line is checked") {
  const TemporaryFolder folder;
  const std::string path = folder / "manifest.jsonl", header = HeaderLine(Header()) + "\n";
  const std::string picture = PictureLine(Picture("k", 0, "a.png"), Details());
  ManifestRecord record = Picture("q", 0, "");
  record.text = "a cat";
  const std::string answer = AnswerLine(record, Details().settings, {}, 0.5);
  const auto open = [&](const std::string& lines) {
    WriteText(path, lines);
    return Manifest::Open(folder.path().string(), "manifest.jsonl");
  };
  REQUIRE(open(header + picture + "\n" + answer + "\n").ok());
  const auto refused = [&](const std::string& line, const char* name, const nlohmann::json& value) {
    INFO(name << " = " << value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    const auto manifest = open(header + picture + "\n" + Changed(line, name, value) + "\n");
    REQUIRE_FALSE(manifest.ok());
    CHECK(manifest.error().kind == ErrorKind::kBadData);
    CHECK(manifest.error().message.find("manifest.jsonl:3: ") != std::string::npos);
    CHECK(manifest.error().message.find("\"" + std::string(name) + "\"") != std::string::npos);
    CHECK(manifest.error().message.find("; move this file away") != std::string::npos);
    CHECK(manifest.error().message.find('\n') == std::string::npos);
  };
  for (const char* file :
       {"../x.png", "/x.png", "a/../../x.png", "..", "a//b.png", "a/./b.png", "", "a\nb.png", "a\x1b[31m.png",
        "\u009b.png", "manifest.jsonl", "failed.jsonl", "x", "a/", ".png"})
    refused(picture, "file", file);
  refused(picture, "file", std::string(5000, 'x') + ".png");
  refused(picture, "file", 1);
  const nlohmann::json absent(nlohmann::json::value_t::discarded), huge = uint64_t{1} << 63;
  for (const char* name : {"job", "number", "of", "index", "seed", "sha256", "bytes"})
    refused(picture, name, absent);
  for (const char* name : {"job", "number", "of", "index", "seed", "complete", "prompt_tokens", "tokens"})
    refused(answer, name, absent);
  for (const char* name : {"number", "of", "index", "seed", "bytes"}) {
    for (const nlohmann::json& value : {nlohmann::json(-1), huge, nlohmann::json(1e300), nlohmann::json(0.5),
                                        nlohmann::json("1"), nlohmann::json()})
      refused(picture, name, value);
  }
  refused(picture, "number", 2);  // of 2
  refused(picture, "of", 0);
  refused(picture, "of", 1'000'001);
  refused(answer, "tokens", huge);
  for (const char* hash : {"", "abc", "/etc/passwd"}) refused(picture, "sha256", hash);
  refused(picture, "sha256", std::string(64, 'A'));

  for (const char* name : {"seed", "list", "shard", "model", "model_hash", "version"}) {
    const auto manifest = open(Changed(header, name, absent) + "\n");
    CHECK_FALSE(manifest.ok());
  }
  CHECK_FALSE(open(Changed(header, "seed", -1) + "\n").ok());
  CHECK_FALSE(open(Changed(header, "seed", huge) + "\n").ok());
}

TEST_CASE("a line of any length ends the reading with its number") {
  const TemporaryFolder folder;
  const std::string path = folder / "manifest.jsonl";
  WriteText(path, HeaderLine(Header()) + "\n" + std::string(size_t{100} << 20, '{') + "\n");
  const auto manifest = Manifest::Open(folder.path().string(), "manifest.jsonl");
  REQUIRE_FALSE(manifest.ok());
  CHECK(manifest.error().kind == ErrorKind::kBadData);
  CHECK(manifest.error().message.find("manifest.jsonl:2: a line longer than 64 MB") != std::string::npos);
}

TEST_CASE("what is finished takes little memory, and the latest line counts") {
  const TemporaryFolder folder;
  const std::string path = folder.path().string();
  REQUIRE(FixSeeds(path, "manifest.jsonl", Header()).ok());
  constexpr int kPictures = 100'000;
  const auto name = [](int i) { return "a-picture-with-a-long-name-" + std::to_string(i) + ".png"; };
  std::string text = ReadText(folder / "manifest.jsonl");
  for (int i = 0; i < kPictures; i++)
    text += KeptLine(Picture("key" + std::to_string(i), i % 2, name(i))) + "\n";
  WriteText(folder / "manifest.jsonl", text);
  ManifestRecord again = Picture("key7", 1, "moved.png");
  again.seed = 9;
  WriteText(folder / "manifest-other.jsonl", HeaderLine(Header()) + "\n" + KeptLine(again) + "\n");
  const auto manifest = Manifest::Open(path, "manifest.jsonl");
  REQUIRE(manifest.ok());
  const FinishedWork& finished = manifest->finished();
  CHECK(finished.bytes() < size_t{80} * kPictures);
  for (int i = 0; i < kPictures; i += 997) {
    const std::string key = "key" + std::to_string(i);
    const auto found = finished.Find(key, i % 2);
    REQUIRE(found);
    CHECK((found->file == name(i) && found->key == key));
    CHECK(finished.Has(key, i % 2));
    CHECK_FALSE(finished.Has(key, 1 - i % 2));
    CHECK(finished.OwnerOf(name(i)) == FinishedWork::MarkOf(key));
  }
  CHECK(finished.Find("key7", 1)->file == "moved.png");
  CHECK(finished.Find("key7", 1)->seed == 9);
  // What is gone is not finished.
  fs::remove(folder / "manifest-other.jsonl");
  CHECK(finished.Find("key9", 1));
  CHECK_FALSE(finished.Find("key7", 1));
}

Job PromptJob(const std::string& prompt) {
  Job job;
  job.picture.emplace();
  job.picture->prompt = prompt;
  return job;
}

TEST_CASE("a key is what decides the pictures") {
  const JobDefaults defaults;
  const std::string key = ContentKey(PromptJob("a"), defaults, JobFormat::kLines, {"hash"});
  CHECK(key.size() == 32);
  Job moved = PromptJob("a");
  moved.index = 5, moved.where = "elsewhere";
  CHECK(ContentKey(moved, defaults, JobFormat::kLines, {"hash"}) == key);
  const auto differs = [&](auto change) {
    Job job = PromptJob("a");
    JobDefaults d;
    change(job, d);
    return ContentKey(job, d, JobFormat::kLines, {"hash"}) != key;
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
  CHECK(ContentKey(PromptJob("a"), defaults, JobFormat::kLines, {"other"}) != key);
  // The same wherever it is said.
  JobDefaults by_default;
  by_default.seed = 3, by_default.images = 2;
  Job own = PromptJob("a");
  own.picture->seed = 3, own.picture->images = 2;
  CHECK(ContentKey(own, defaults, JobFormat::kLines, {"hash"}) ==
        ContentKey(PromptJob("a"), by_default, JobFormat::kLines, {"hash"}));

  // The defaults survive the header, so that merge comes to the same keys.
  by_default.settings.top_k = 5, by_default.settings.guidance = 0.1f,
  by_default.format = PictureFormat::kJpeg;
  by_default.plot = {{"cfg", {"1", "2"}, {}}};
  const auto read = DefaultsFromJson(nlohmann::json::parse(ToJson(by_default).dump()));
  REQUIRE(read.ok());
  CHECK(ContentKey(own, *read, JobFormat::kLines, {"h"}) ==
        ContentKey(own, by_default, JobFormat::kLines, {"h"}));
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

TEST_CASE("files whose names differ in case only are found") {
  const TemporaryFolder folder;
  const std::string path = folder.path().string();
  std::string text = HeaderLine(Header()) + "\n";
  const char* const files[] = {"Cat.png", "dog.png", "\u00c4/B.png", "Two.png", "two.png"};
  for (const char* file : files) text += KeptLine(Picture(std::string("k") + file, 0, file)) + "\n";
  WriteText(folder / "manifest.jsonl", text);
  const auto manifest = Manifest::Open(path, "manifest.jsonl");
  REQUIRE(manifest.ok());
  const FinishedWork& finished = manifest->finished();
  CHECK(finished.AlikeOf("cat.png") == "Cat.png");
  CHECK(finished.AlikeOf("CAT.PNG") == "Cat.png");
  CHECK_FALSE(finished.AlikeOf("Cat.png"));
  CHECK(finished.AlikeOf("DOG.png") == "dog.png");
  CHECK_FALSE(finished.AlikeOf("dog.png"));
  CHECK(finished.AlikeOf("A\u0308/b.png") == "\u00c4/B.png");
  CHECK(finished.AlikeOf("Two.png") == "two.png");
  CHECK(finished.AlikeOf("two.png") == "Two.png");
  CHECK_FALSE(finished.AlikeOf("fox.png"));
  // Each keeps its own owner.
  for (const char* file : files)
    CHECK(finished.OwnerOf(file) == FinishedWork::MarkOf(std::string("k") + file));
}

}  // namespace
}  // namespace bifrons
