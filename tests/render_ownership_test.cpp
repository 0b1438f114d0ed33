// Rendering into a folder where other people's files stand: nothing of theirs is written over, and what is
// bifrons' own is known again.
#include <sys/stat.h>

#include <functional>

#include "tests/abandoned_file.h"
#include "tests/rendered.h"
#include "tests/test_pictures.h"
#include "vision/image_file.h"

namespace bifrons {
namespace {

const Arguments kNames = {"--seed", "1", "--name", "{index}"};

ProgramResult Fails(const Arguments& arguments) {
  ProgramResult run = RunProgram(arguments);
  INFO(Shown(arguments) << run.err);
  CHECK(run.signal == 0);
  CHECK(run.exit_code == 3);
  return run;
}

std::vector<std::string> Reasons(const fs::path& folder) {
  std::vector<std::string> reasons;
  for (const json& line : JsonLines(folder / "failed.jsonl")) reasons.push_back(line["reason"]);
  return reasons;
}

bool Says(const std::string& text, const std::string& what) { return text.find(what) != std::string::npos; }

// The manifest without its last lines, as if the process had been killed between naming a file and recording
// it.
void Forget(const std::string& manifest, size_t lines) {
  std::string text = ReadText(manifest);
  for (; lines > 0; lines--) text.resize(text.rfind('\n', text.size() - 2) + 1);
  WriteText(manifest, text);
}

TEST_CASE("other people's files under the names of pictures stay, and only those jobs fail") {
  using Make = std::function<void(const std::string& path, const std::string& elsewhere)>;
  const TemporaryFolder pictures;
  WriteText(pictures / "jobs.txt", "a dog\n");
  RunWell(Render(pictures / "jobs.txt", pictures / "out", {"--seed", "2", "--name", "other"}));
  const std::string other = pictures / "out/other.png";
  const Make makes[] = {
      [](const std::string& path, const std::string&) { WriteText(path, "my cat"); },
      [](const std::string& path, const std::string&) { WriteText(path, ""); },
      // Of the same model and prompt, but another seed.
      [&](const std::string& path, const std::string&) { fs::copy_file(other, path); },
      [](const std::string& path, const std::string&) { fs::create_directory(path); },
      [](const std::string& path, const std::string& elsewhere) { fs::create_symlink(elsewhere, path); },
      [](const std::string& path, const std::string&) { fs::create_symlink("nowhere", path); },
      [](const std::string& path, const std::string&) { REQUIRE(mkfifo(path.c_str(), 0600) == 0); },
  };
  for (size_t i = 0; i < std::size(makes); i++) {
    INFO(i);
    const TemporaryFolder folder;
    const std::string out = folder / "out", elsewhere = folder / "elsewhere.png";
    fs::create_directories(out + "/sub");
    WriteText(elsewhere, "theirs");
    WriteText(folder / "jobs.jsonl", R"({"prompt":"a dog","seed":1,"file":"a.png"}
{"prompt":"a dog","seed":1,"file":"cat.png"}
{"prompt":"a dog","seed":1,"file":"sub/cat.png"}
{"prompt":"a dog","seed":1,"file":"b.png"}
)");
    for (const std::string file : {"/cat.png", "/sub/cat.png"}) makes[i](out + file, elsewhere);
    const auto type = fs::symlink_status(out + "/cat.png").type();
    const std::string text = type == fs::file_type::regular ? ReadText(out + "/cat.png") : "";
    for (int run = 0; run < 2; run++) {
      Fails(Render(folder / "jobs.jsonl", out));
      CHECK(fs::symlink_status(out + "/cat.png").type() == type);
      CHECK(fs::symlink_status(out + "/sub/cat.png").type() == type);
      if (type == fs::file_type::regular) CHECK(ReadText(out + "/cat.png") == text);
      CHECK(Recorded(out).size() == 2);
      CHECK(ReadText(elsewhere) == "theirs");
      const auto reasons = Reasons(out);
      REQUIRE(reasons.size() == 2);
      CHECK(Says(reasons.at(0), "cat.png"));
      CHECK(Says(reasons.at(0), "move it away"));
    }
    CHECK_FALSE(fs::exists(out + "/nowhere"));
    for (const std::string file : {"/cat.png", "/sub/cat.png"}) fs::remove(out + file);
    RunWell(Render(folder / "jobs.jsonl", out));
    CHECK(Recorded(out).size() == 4);
  }
}

TEST_CASE("pictures that were named and not recorded are known by their metadata") {
  for (const std::string format : {"png", "jpg", "webp"}) {
    const TemporaryFolder folder;
    const std::string jobs = folder / "jobs.txt", out = folder / "out", manifest = out + "/manifest.jsonl";
    WriteText(jobs, "a dog\na cat\nein Hündchen, \"groß\": ja\n");
    const Arguments run = Render(jobs, out, {"--format", format, "--upscale", "2", "--name", "{index}"});
    RunWell(run);
    const auto before = Pictures(out);
    Forget(manifest, 2);
    const ProgramResult again = RunWell(run);
    INFO(again.err);
    CHECK(Says(again.err, "2 drawn, 1 kept"));
    CHECK(Pictures(out) == before);
    CHECK(Recorded(out) == before);

    // The same with the pictures of another prompt: not this job's.
    Forget(manifest, 1);
    WriteText(jobs, "a dog\na cat\nanother\n");
    Fails(run);
    CHECK(Pictures(out) == before);
    CHECK(Says(Reasons(out).at(0), "is there already"));
  }
}

TEST_CASE("a damaged picture is not lost where there is no room for another") {
  const TemporaryFolder folder;
  const std::string jobs = folder / "jobs.txt", out = folder / "out";
  WriteText(jobs, "a dog\n");
  const Arguments run = Render(jobs, out, Join(kNames, {"--upscale", "4"}));
  RunWell(run);
  const std::string whole = ReadText(out + "/00000.png");
  REQUIRE(whole.size() > 1024);
  WriteText(out + "/00000.png", whole + "x");
  std::string command = "ulimit -f 1; exec '" + std::string(BIFRONS_PROGRAM) + "'";
  for (const std::string& argument : run) command += " '" + argument + "'";
  CHECK(WEXITSTATUS(std::system((command + " > /dev/null 2>&1").c_str())) == 1);
  CHECK(ReadText(out + "/00000.png") == whole + "x");
  RunWell(run);
  CHECK(ReadText(out + "/00000.png") == whole);
}

TEST_CASE("a file that comes while its picture is drawn stays") {
  const TemporaryFolder folder;
  const std::string out = folder / "out";
  WriteText(folder / "jobs.txt", "a dog\n");
  // All names of a job are looked at before the first picture is begun.
  Program program(
      Render(folder / "jobs.txt", out, {"--seed", "1", "-n", "60", "--batch", "1", "--name", "{number:2}"}));
  CHECK(WaitFor(program, [&] { return !program.Printed().empty(); }));
  const int mine = open((out + "/59.png").c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600);
  REQUIRE(mine >= 0);
  close(mine);
  CHECK(program.Wait().exit_code == 3);
  CHECK(fs::file_size(out + "/59.png") == 0);
  CHECK(Recorded(out).size() == 59);
  REQUIRE(Reasons(out).size() == 1);
  CHECK(Says(Reasons(out).at(0), "59.png"));
}

TEST_CASE("a picture of another job that took a lost one's name stays") {
  const TemporaryFolder folder;
  const std::string jobs = folder / "jobs.txt", out = folder / "out";
  WriteText(jobs, "a dog\n");
  RunWell(Render(jobs, out, kNames));
  fs::remove(out + "/00000.png");
  WriteText(jobs, "a cat\n");
  RunWell(Render(jobs, out, kNames));
  const auto cat = Pictures(out);
  WriteText(jobs, "a dog\n");
  Fails(Render(jobs, out, kNames));
  CHECK(Pictures(out) == cat);
}

TEST_CASE("links do not lead out of the folder") {
  const TemporaryFolder folder;
  const std::string out = folder / "out";
  fs::create_directories(out + "/real");
  fs::create_directories(folder / "outside");
  fs::create_symlink("../outside", out + "/up");
  fs::create_symlink(folder / "outside", out + "/absolute");
  fs::create_symlink("real", out + "/inside");
  WriteText(folder / "jobs.jsonl", R"({"prompt":"a","file":"up/a.png"}
{"prompt":"a","file":"absolute/b/a.png"}
{"prompt":"a","file":"manifest.jsonl/a.png"}
{"prompt":"a","file":"failed.jsonl/a.png"}
{"prompt":"a","file":"output-3.jsonl/a.png"}
{"prompt":"a","file":"inside/a.png"}
)");
  Fails(Render(folder / "jobs.jsonl", out));
  CHECK(fs::is_empty(folder / "outside"));
  CHECK(fs::exists(out + "/real/a.png"));
  CHECK(Reasons(out).size() == 5);
}

TEST_CASE("what a killed process left half-written is swept") {
  const TemporaryFolder folder;
  const std::string out = folder / "out";
  fs::create_directories(out + "/sub");
  AbandonedFile above(out), below(out + "/sub");
  above.Kill(), below.Kill();
  WriteText(out + "/notes.tmp", "mine");
  WriteText(folder / "jobs.jsonl", "{\"prompt\":\"a dog\",\"file\":\"sub/a.png\"}\n");
  RunWell(Render(folder / "jobs.jsonl", out));
  std::set<std::string> left;
  for (const auto& entry : fs::recursive_directory_iterator(out))
    left.insert(fs::relative(entry.path(), out).string());
  CHECK(left == std::set<std::string>{"manifest.jsonl", "notes.tmp", "sub", "sub/a.png"});
}

TEST_CASE("line files of other people stay, and nothing is begun") {
  const std::string request =
      R"({"custom_id":"a","method":"POST","url":"/v1/images/generations","body":{"prompt":"a dog"}})";
  const std::string openai =
      R"({"id":"batch_req_1","custom_id":"b","response":{"status_code":500},"error":null})";
  for (const std::string name : {"manifest.jsonl", "failed.jsonl", "output.jsonl"}) {
    for (const std::string& text :
         {std::string("my notes"), std::string("my notes\n"), std::string("\n\nnotes"),
          std::string("{\"a\": 1}"), std::string("{\"a\": [1, 2]}\n"), openai, openai + "\n"}) {
      INFO(name << ": " << text);
      const TemporaryFolder folder;
      const std::string out = folder / "out";
      fs::create_directory(out);
      WriteText(folder / "jobs.jsonl", request + "\n");
      WriteText(out + "/" + name, text);
      const ProgramResult run = Fails(Render(folder / "jobs.jsonl", out));
      CHECK(ReadText(out + "/" + name) == text);
      CHECK(Says(run.err, name));
      CHECK(Says(run.err, "move "));
      CHECK(std::count(run.err.begin(), run.err.end(), '\n') == 1);
      CHECK(Pictures(out).empty());
    }
    for (const int kind : {0, 1, 2, 3}) {
      INFO(name << kind);
      const TemporaryFolder folder;
      const std::string out = folder / "out", elsewhere = folder / "elsewhere";
      fs::create_directory(out);
      WriteText(folder / "jobs.jsonl", request + "\n");
      const std::string path = out + "/" + name;
      if (kind == 0) fs::create_directory(path);
      if (kind == 1) REQUIRE(mkfifo(path.c_str(), 0600) == 0);
      if (kind >= 2) fs::create_symlink(elsewhere, path);
      if (kind == 3) WriteText(elsewhere, "");
      const auto type = fs::symlink_status(path).type();
      const ProgramResult run = RunProgram(Render(folder / "jobs.jsonl", out));
      INFO(run.err);
      CHECK((run.exit_code == 1 || run.exit_code == 3));
      CHECK(std::count(run.err.begin(), run.err.end(), '\n') == 1);
      CHECK(fs::symlink_status(path).type() == type);
      CHECK(fs::exists(elsewhere) == (kind == 3));
      if (kind == 3) CHECK(ReadText(elsewhere).empty());
    }
  }
}

TEST_CASE("a batch's good answers stay where they are, byte for byte") {
  const TemporaryFolder folder;
  const auto request = [](const std::string& id, const std::string& body) {
    return R"({"custom_id":")" + id + R"(","method":"POST","url":"/v1/images/generations","body":)" + body +
           "}\n";
  };
  const std::string good = request("a", R"({"prompt":"a dog","seed":1})"), out = folder / "out";
  WriteText(folder / "jobs.jsonl", good);
  RunWell(Render(folder / "jobs.jsonl", out));
  const std::string answer = ReadText(out + "/output.jsonl");
  struct stat before {
  }, after{};
  REQUIRE(stat((out + "/output.jsonl").c_str(), &before) == 0);
  RunWell(Render(folder / "jobs.jsonl", out));
  REQUIRE(stat((out + "/output.jsonl").c_str(), &after) == 0);
  CHECK(before.st_ino == after.st_ino);
  CHECK(ReadText(out + "/output.jsonl") == answer);
  // A torn line behind is cut off, a line about a failure is written anew.
  WriteText(folder / "jobs.jsonl", good + request("b", "{}"));
  WriteText(out + "/output.jsonl", answer + answer.substr(0, 40));
  for (int i = 0; i < 2; i++) {
    Fails(Render(folder / "jobs.jsonl", out));
    CHECK(CountLines(out + "/output.jsonl") == 2);
    CHECK(ReadText(out + "/output.jsonl").starts_with(answer));
  }
}

TEST_CASE("sheets go over older ones of theirs, and over nothing else") {
  const TemporaryFolder folder;
  const std::string jobs = folder / "jobs.jsonl", out = folder / "out";
  const std::string several = R"({"prompt":"a dog","seed":1,"n":2,"file":"a.png"})";
  const std::string singles = R"({"prompt":"a dog","seed":1,"file":"b.png"}
{"prompt":"a cat","seed":1,"file":"c.png"})";
  const Arguments grid = Render(jobs, out, {"--grid"});
  fs::create_directory(out);
  for (const std::string file : {"/a_grid.png", "/contact_sheet_001.png"}) WriteText(out + file, "mine");
  WriteText(jobs, several + "\n" + singles + "\n");
  for (int i = 0; i < 2; i++) {
    const ProgramResult run = Fails(grid);
    CHECK(Says(run.err, "2 failed"));
    CHECK(ReadText(out + "/a_grid.png") == "mine");
    CHECK(ReadText(out + "/contact_sheet_001.png") == "mine");
    CHECK(Recorded(out).size() == 4);
    REQUIRE(Reasons(out).size() == 2);
    CHECK(Says(Reasons(out).at(0), "a_grid.png is there already"));
  }
  for (const std::string file : {"/a_grid.png", "/contact_sheet_001.png"}) fs::remove(out + file);
  CHECK(Says(RunWell(grid).err, "2 sheets"));
  const auto drawn = Pictures(out);
  CHECK_FALSE(Says(RunWell(grid).err, "sheet"));
  CHECK(Pictures(out) == drawn);

  // Another list: the job's sheet stays as it is, the list's follows.
  WriteText(jobs, several + "\n" + singles + "\n{\"prompt\":\"a cow\",\"seed\":1,\"file\":\"d.png\"}\n");
  CHECK(Says(RunWell(grid).err, "1 sheet"));
  const auto longer = Pictures(out);
  CHECK(longer.at("a_grid.png") == drawn.at("a_grid.png"));
  CHECK(longer.at("contact_sheet_001.png") != drawn.at("contact_sheet_001.png"));
  // Other columns, and back: the same bytes.
  CHECK(Says(RunWell(Render(jobs, out, {"--grid", "1"})).err, "2 sheets"));
  CHECK(Says(RunWell(grid).err, "2 sheets"));
  CHECK(Pictures(out) == longer);
  // Version 0.1 wrote them without a text: the same picture is known by its bytes.
  const auto sheet = LoadImage(out + "/a_grid.png");
  REQUIRE(sheet.ok());
  WritePng(out + "/a_grid.png", sheet->width, sheet->height, sheet->rgb);
  CHECK(Says(RunWell(grid).err, "1 sheet"));
  CHECK(Pictures(out) == longer);
  // A sheet is no picture of a job.
  WriteText(folder / "one.jsonl", R"({"prompt":"a dog","seed":1,"file":"a_grid.png"})");
  Fails(Render(folder / "one.jsonl", out));
  CHECK(Pictures(out) == longer);
}

TEST_CASE("a sheet never has the name of a picture, whichever comes first") {
  const std::string job = R"({"prompt":"a dog","seed":1,"n":2,"file":"a.png"})",
                    as_grid = R"({"prompt":"a cow","seed":1,"file":"a_grid.png"})",
                    as_list = R"({"prompt":"a cat","seed":1,"file":"contact_sheet_001.png"})",
                    another = R"({"prompt":"a pig","seed":1,"file":"b.png"})";
  {
    const TemporaryFolder folder;
    const std::string jobs = folder / "jobs.jsonl", out = folder / "out";
    WriteText(jobs, as_grid + "\n" + as_list + "\n" + job + "\n");
    RunWell(Render(jobs, out));
    const auto pictures = Pictures(out);
    for (int i = 0; i < 2; i++) {
      CHECK(Says(Fails(Render(jobs, out, {"--grid"})).err, "2 failed"));
      CHECK(Pictures(out) == pictures);
      CHECK(Recorded(out) == pictures);
    }
    // Nor where the list does not name it any more, or names it later.
    WriteText(jobs, job + "\n" + another + "\n" + as_list + "\n");
    Fails(Render(jobs, out, {"--grid"}));
    for (const auto& [file, hash] : pictures) CHECK(Pictures(out).at(file) == hash);
  }
  const TemporaryFolder folder;
  WriteText(folder / "jobs.jsonl", job + "\n" + as_grid + "\n");
  Fails(Render(folder / "jobs.jsonl", folder / "out", {"--grid"}));
  CHECK(Recorded(folder / "out").size() == 2);
  CHECK(Says(Reasons(folder / "out").at(0), "the sheet of the job with index 0"));
}

TEST_CASE("a sheet that cannot be leaves a batch its answer") {
  const TemporaryFolder folder;
  const std::string out = folder / "out";
  WriteText(
      folder / "jobs.jsonl",
      R"({"custom_id":"a","method":"POST","url":"/v1/images/generations","body":{"prompt":"a dog","n":2,"seed":1}})"
      "\n");
  fs::create_directory(out);
  WriteText(out + "/x_1_grid.png", "mine");
  Fails(Render(folder / "jobs.jsonl", out, {"--grid", "--name", "x_{seed}"}));
  CHECK(CountLines(out + "/output.jsonl") == 1);
  CHECK(JsonLines(out + "/output.jsonl")[0]["response"]["status_code"] == 200);
}

TEST_CASE("GenEval's metadata stand beside the samples, or the entry fails") {
  const TemporaryFolder folder;
  const std::string jobs = folder / "evaluation_metadata.jsonl", out = folder / "out";
  const auto entry = [](const std::string& what) {
    return R"({"tag": "single_object", "include": [{"class": ")" + what +
           R"(", "count": 1}], "prompt": "a photo of a cow"})";
  };
  WriteText(jobs, entry("cow") + "\n" + entry("bench") + "\n");
  fs::create_directories(out + "/00001");
  WriteText(out + "/00001/metadata.jsonl", "mine");
  Fails(Render(jobs, out, {"-n", "1"}));
  CHECK(ReadText(out + "/00001/metadata.jsonl") == "mine");
  CHECK(Recorded(out).size() == 1);
  WriteText(out + "/00001/metadata.jsonl", entry("bench") + "\n");
  RunWell(Render(jobs, out, {"-n", "1"}));
  CHECK(Recorded(out).size() == 2);
  // An edited entry is not the one that the samples were drawn for.
  WriteText(jobs, entry("cow") + "\n" + entry("horse") + "\n");
  Fails(Render(jobs, out, {"-n", "1"}));
  CHECK(ReadText(out + "/00001/metadata.jsonl") == entry("bench") + "\n");
}

}  // namespace
}  // namespace bifrons
