// What a restart trusts: the manifest's word, the files' sizes and times, and otherwise their contents.
#include "tests/fabricated.h"

namespace bifrons {
namespace {

// Four pictures, rendered; and what a restart makes of them.
struct Rendered {
  TemporaryFolder folder;
  const std::string jobs = folder / "jobs.txt", out = folder / "out";
  std::map<std::string, std::string> pictures;
  std::string manifest;

  Rendered() {
    WriteText(jobs, NumberedPrompts(4));
    RunWell(Render(jobs, out));
    pictures = Pictures(out), manifest = ReadText(out + "/manifest.jsonl");
    REQUIRE(pictures.size() == 4);
  }
  std::string first() const { return out + "/" + pictures.begin()->first; }
  // How many it draws again; in the end all is as it was.
  int Restart(const Arguments& more = {}) const {
    const json summary = Summary(RunWell(Render(jobs, out, Join({"--json"}, more))));
    CHECK(summary["kept"].get<int>() + summary["drawn"].get<int>() == 4);
    return summary["drawn"];
  }
  int64_t RecordedTime(const std::string& file) const {
    int64_t time = 0;
    for (const json& line : JsonLines(out + "/manifest.jsonl"))
      if (line.value("file", "") == file) time = line["mtime_ns"];
    return time;
  }
};

TEST_CASE("size and time of a file tell that it is the picture") {
  const Rendered r;
  const std::string file = r.pictures.begin()->first;
  CHECK(FileBeneath::Open(r.out, file)->mtime_ns() == r.RecordedTime(file));
  CHECK(r.Restart() == 0);
  CHECK(r.Restart({"--verify"}) == 0);
  // Contents that changed behind the manifest's back are found by reading.
  const auto time = fs::last_write_time(r.first());
  std::string bytes = ReadText(r.first());
  bytes[bytes.size() / 2] ^= 1;
  WriteText(r.first(), bytes);
  fs::last_write_time(r.first(), time);
  CHECK(r.Restart() == 0);
  CHECK(r.Restart({"--verify"}) == 1);
  CHECK(Pictures(r.out) == r.pictures);
}

TEST_CASE("another time is looked into, and nothing drawn again that is right") {
  const Rendered r;
  const std::string file = r.pictures.begin()->first;
  fs::last_write_time(r.first(), fs::file_time_type::clock::now() - std::chrono::hours(5));
  CHECK(r.Restart() == 0);
  CHECK(ReadText(r.out + "/manifest.jsonl") == r.manifest);
  // Once is enough: it has its time again.
  CHECK(FileBeneath::Open(r.out, file)->mtime_ns() == r.RecordedTime(file));
  // A time before 1970 is one too.
  CHECK(FileBeneath::Open(r.out, file)->SetTime(-3'600'000'000'001));
  CHECK(FileBeneath::Open(r.out, file)->mtime_ns() == -3'600'000'000'001);
  CHECK(r.Restart() == 0);
  CHECK(FileBeneath::Open(r.out, file)->mtime_ns() == r.RecordedTime(file));

  std::string bytes = ReadText(r.first());
  bytes[bytes.size() / 2] ^= 1;
  WriteText(r.first(), bytes);
  CHECK(r.Restart() == 1);
  WriteText(r.first(), bytes + "more");
  CHECK(r.Restart() == 1);
  fs::remove(r.first());
  CHECK(r.Restart() == 1);
  CHECK(Pictures(r.out) == r.pictures);
}

TEST_CASE("a copied folder goes on") {
  const Rendered r;
  const std::string copy = r.folder / "copy";
  fs::copy(r.out, copy, fs::copy_options::recursive);
  const json summary = Summary(RunWell(Render(r.jobs, copy, {"--json"})));
  CHECK((summary["kept"] == 4 && summary["drawn"] == 0));
  CHECK(ReadText(copy + "/manifest.jsonl") == r.manifest);
  for (const auto& [file, hash] : r.pictures)
    CHECK(FileBeneath::Open(copy, file)->mtime_ns() == r.RecordedTime(file));
}

TEST_CASE("many pictures without times are read on all cores, and kept") {
  const TemporaryFolder folder;
  constexpr int kPictures = 300;
  WriteText(folder / "jobs.txt", NumberedPrompts(kPictures));
  FabricateFinished(folder / "out", kPictures, /*with_times=*/false);
  // In the middle of them some that are not right, and a new one.
  fs::remove(folder / "out/0/picture_150.png");  // the name, of a file that all have
  WriteText(folder / "out/0/picture_150.png", "damaged");
  fs::remove(folder / "out/0/picture_170.png");
  WriteText(folder / "jobs.txt", "a new one\n" + NumberedPrompts(kPictures));
  const json summary = Summary(RunWell(Render(folder / "jobs.txt", folder / "out", {"--json"})));
  CHECK((summary["kept"] == kPictures - 2 && summary["drawn"] == 3));
}

TEST_CASE("manifests of version 0.1 go on") {
  const fs::path golden = fs::path(BIFRONS_TEST_DIR) / "goldens/manifest_0.1";
  const TemporaryFolder folder;
  const std::string out = folder / "out", jobs = folder / "jobs.jsonl";
  fs::copy(golden / "jobs.jsonl", jobs);
  fs::copy(golden / "pictures", out, fs::copy_options::recursive);
  const auto before = Pictures(out);
  const std::string manifest = ReadText(out + "/manifest.jsonl");
  for (const Arguments& more : {Arguments{}, Arguments{"--verify"}}) {
    const ProgramResult again = RunProgram(Render(jobs, out, Join({"--json"}, more)));
    INFO(again.err);
    CHECK(again.exit_code == 3);  // its last line is no job
    const json summary = Summary(again);
    CHECK((summary["kept"] == 6 && summary["drawn"] == 0 && summary["failed"] == 1));
    CHECK(Pictures(out) == before);
    CHECK(ReadText(out + "/manifest.jsonl").starts_with(manifest));
  }
  const json report = json::parse(RunProgram({"merge", out, "--jobs", jobs, "--json"}).out);
  CHECK((report["finished"] == 6 && report["missing"].empty() && report["failed"].size() == 1));
  // A picture that is lost is drawn from the seed that 0.1 fixed.
  fs::remove(out + "/00003_4709340144360597_a-lighthouse.png");
  CHECK(Summary(RunProgram(Render(jobs, out, {"--json"})))["drawn"] == 1);
  CHECK(fs::exists(out + "/00003_4709340144360597_a-lighthouse.png"));
}

TEST_CASE("a manifest names no file outside its folder") {
  const TemporaryFolder folder;
  WriteText(folder / "jobs.txt", NumberedPrompts(1));
  const std::string out = folder / "out", mine = folder / "mine.png";
  FabricateFinished(out, 1);
  const std::string manifest = ReadText(out + "/manifest.jsonl");
  WriteText(mine, "not a picture of bifrons");
  for (const std::string& file : {std::string("../mine.png"), mine, std::string("x/../../mine.png")}) {
    std::string changed = manifest;
    changed.replace(changed.find("0/picture_0.png"), 15, file);
    WriteText(out + "/manifest.jsonl", changed);
    const ProgramResult rendered = RunProgram(Render(folder / "jobs.txt", out));
    CHECK(rendered.exit_code == 3);
    CHECK(rendered.err.find("manifest.jsonl:2: ") != std::string::npos);
    CHECK(std::count(rendered.err.begin(), rendered.err.end(), '\n') == 1);
    CHECK(ReadText(mine) == "not a picture of bifrons");
    CHECK(ReadText(out + "/manifest.jsonl") == changed);
  }
  // Nor does a link lead out: what stands behind it counts as little as if it were not there.
  WriteText(out + "/manifest.jsonl", manifest);
  const std::string picture = ReadText(out + "/0/picture_0.png");
  WriteText(mine, picture);
  fs::remove(out + "/0/picture_0.png");
  fs::create_symlink(mine, out + "/0/picture_0.png");
  const ProgramResult rendered = RunProgram(Render(folder / "jobs.txt", out, {"--json"}));
  CHECK(rendered.out.find("\"event\":\"kept\"") == std::string::npos);
}

}  // namespace
}  // namespace bifrons
