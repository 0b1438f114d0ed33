// Captions of whole folders: what is there afterwards, also when the program is killed in between.
#include <sys/stat.h>

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <thread>

#include "tests/run_program.h"
#include "tests/test_pictures.h"

namespace bifrons {
namespace {

const std::string kModel = (fs::path(BIFRONS_TEST_DIR) / "goldens/tiny-c/converted").string();
constexpr int kPictures = 200, kKills = 10;

// Pictures of all sizes in folders of folders, and what is no picture.
void WritePictures(const fs::path& folder, int pictures) {
  for (int i = 0; i < pictures; i++) {
    const fs::path place = folder / (i % 3 == 0 ? "." : i % 3 == 1 ? "b" : "b/c d");
    fs::create_directories(place);
    WriteTestPicture((place / ("picture " + std::to_string(i) + ".png")).string(), 1 + i % 23, 1 + i % 17,
                     static_cast<uint32_t>(i));
  }
  WriteText(folder / "notes.md", "no picture");
}

Arguments Caption(const fs::path& folder, const Arguments& more) {
  return Join({"caption", "--model", kModel, "--dtype", "f32", "--threads", "1", "--max-tokens", "6",
               "--recursive", folder.string()},
              more);
}

// Text of every picture's .txt, by the picture's path inside `folder`.
std::map<std::string, std::string> Texts(const fs::path& folder) {
  std::map<std::string, std::string> texts;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".txt")
      texts[fs::relative(entry.path(), folder).replace_extension(".png").string()] = ReadText(entry.path());
  }
  return texts;
}

// Text of every line's picture; a picture that has two lines, or a line that is not JSON, fails.
std::map<std::string, std::string> Lines(const fs::path& jsonl, const fs::path& folder) {
  std::map<std::string, std::string> texts;
  std::istringstream file(ReadText(jsonl));
  for (std::string line; std::getline(file, line);) {
    INFO("line: " << line);
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    REQUIRE(json.is_object());
    const fs::path picture(json["file"].get<std::string>());
    const bool first = texts.emplace(fs::relative(picture, folder).string(), json["text"]).second;
    CHECK(first);
  }
  return texts;
}

std::set<std::string> AllFiles(const fs::path& folder) {
  std::set<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (!entry.is_directory()) files.insert(fs::relative(entry.path(), folder).string());
  return files;
}

class KillTest {
 public:
  explicit KillTest(bool jsonl) : jsonl_(jsonl) {
    WritePictures(kept_ / "pictures", kPictures);
    WritePictures(killed_ / "pictures", kPictures);
    RunWell(Run(kept_));
    expected_ = Results(kept_);
    REQUIRE(expected_.size() == kPictures);
  }

  void Check() {
    std::mt19937 random(11);
    int in_the_middle = 0;
    for (int kill = 0; kill < kKills; kill++) {
      const size_t before = Count();
      const size_t wanted = before + 1 + random() % (kPictures / kKills);
      Program program(Run(killed_));
      while (Count() < wanted && !program.Ended())
        std::this_thread::sleep_for(std::chrono::microseconds(200));
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 8000));
      program.Kill();
      const ProgramResult result = program.Wait();
      INFO(result.err);
      CHECK((result.signal == SIGKILL || result.exit_code == 0));
      if (result.signal == SIGKILL && Count() < kPictures) in_the_middle++;
      CHECK(Count() >= before);  // it goes on where it was
      if (!jsonl_) {             // a result that is there is whole, whenever the program was killed
        for (const auto& [picture, text] : Results(killed_)) CHECK(text == expected_.at(picture));
      }
    }
    CHECK(in_the_middle >= kKills / 2);  // or this tests nothing

    const auto kept = Times();
    RunWell(Run(killed_));
    for (const auto& [file, time] : kept) CHECK(fs::last_write_time(file) == time);  // not done again
    CHECK(Results(killed_) == expected_);
    CHECK(AllFiles(killed_.path()) == AllFiles(kept_.path()));  // no temporary file is left
  }

 private:
  Arguments Run(const TemporaryFolder& folder) const {
    const Arguments to = jsonl_ ? Arguments{"--jsonl", folder / "out.jsonl"} : Arguments{"--write-txt"};
    return Caption(folder / "pictures", to);
  }
  std::map<std::string, std::string> Results(const TemporaryFolder& folder) const {
    return jsonl_ ? Lines(folder / "out.jsonl", folder / "pictures") : Texts(folder / "pictures");
  }
  // Finished pictures so far.
  size_t Count() const {
    if (!jsonl_) return Times().size();
    const std::string file = ReadText(killed_ / "out.jsonl");
    return static_cast<size_t>(std::count(file.begin(), file.end(), '\n'));
  }
  std::map<fs::path, fs::file_time_type> Times() const {
    std::map<fs::path, fs::file_time_type> times;
    for (const auto& entry : fs::recursive_directory_iterator(killed_ / "pictures"))
      if (entry.path().extension() == ".txt") times[entry.path()] = entry.last_write_time();
    return times;
  }

  const bool jsonl_;
  TemporaryFolder kept_, killed_;
  std::map<std::string, std::string> expected_;  // of an undisturbed run
};

TEST_CASE("killed ten times and started again: one right .txt per picture") { KillTest(false).Check(); }
TEST_CASE("killed ten times and started again: one right line per picture") { KillTest(true).Check(); }

TEST_CASE("a folder's captions are those of its pictures alone, and are not written again") {
  const TemporaryFolder folder;
  WritePictures(folder / "pictures", 9);
  const std::string jsonl = folder / "out.jsonl";
  const Arguments write_txt = Caption(folder / "pictures", {"--write-txt"});
  const Arguments append = Caption(folder / "pictures", {"--jsonl", jsonl});
  RunWell(write_txt), RunWell(append);
  const auto texts = Texts(folder / "pictures"), lines = Lines(jsonl, folder / "pictures");
  REQUIRE(texts.size() == 9);
  REQUIRE(lines.size() == 9);
  for (const auto& [picture, text] : texts) {
    const ProgramResult alone = RunWell({"caption", "--model", kModel, "--dtype", "f32", "--max-tokens", "6",
                                         "--json", (fs::path(folder / "pictures") / picture).string()});
    const std::string expected = nlohmann::json::parse(alone.out)["text"];
    INFO(picture);
    CHECK(text == expected + "\n");
    CHECK(lines.at(picture) == expected);
  }

  // What is there stays, even if it is another's.
  WriteText(folder / "pictures/picture 0.txt", "by hand");
  const std::string before = ReadText(jsonl);
  RunWell(write_txt), RunWell(append);
  CHECK(ReadText(folder / "pictures/picture 0.txt") == "by hand");
  CHECK(ReadText(jsonl) == before);
  RunWell(Join(write_txt, {"--overwrite"})), RunWell(Join(append, {"--overwrite"}));
  CHECK(Texts(folder / "pictures") == texts);
  CHECK(Lines(jsonl, folder / "pictures") == lines);
  // A run that cannot begin costs nothing.
  const std::string whole = ReadText(jsonl);
  CHECK(RunProgram({"caption", "--model", folder / "nowhere", folder / "pictures/picture 0.png", "--jsonl",
                    jsonl, "--overwrite"})
            .exit_code == 3);
  CHECK((ReadText(jsonl) == whole));
  // Another question is another result.
  RunWell(Join(append, {"--question", "a dog?"}));
  CHECK(ReadText(jsonl).size() > before.size());
  // A torn last line, as a full disk leaves it.
  WriteText(jsonl, before.substr(0, before.size() - 30));
  RunWell(append);
  CHECK(Lines(jsonl, folder / "pictures") == lines);
}

TEST_CASE("what a folder holds and cannot be seen is reported and counted") {
  const TemporaryFolder folder;
  WritePictures(folder / "pictures", 3);
  fs::rename(folder / "pictures/picture 0.png", folder / "pictures/no name");
  WriteText(folder / "pictures/new.jxl", "\xFF\x0A and so on");
  fs::create_symlink("gone.png", folder / "pictures/link.png");
  WriteText(folder / "pictures/@eaDir/x.jpg/SYNOFILE_THUMB_M.jpg", "");
  const ProgramResult result = RunProgram(Caption(folder / "pictures", {"--write-txt"}));
  INFO(result.err);
  CHECK(result.exit_code == 3);
  CHECK(result.err.find("new.jxl: a JPEG XL file, which is not read") != std::string::npos);
  CHECK(result.err.find("link.png: a link to gone.png") != std::string::npos);
  CHECK(result.err.find("3 captioned, 2 failed") != std::string::npos);
  CHECK(fs::exists(folder / "pictures/no name.txt"));
  // When all the rest is there from before, too.
  const ProgramResult again = RunProgram(Caption(folder / "pictures", {"--write-txt"}));
  CHECK(again.exit_code == 3);
  CHECK(again.err.find("0 captioned, 3 kept from before, 2 failed; a text does not say") !=
        std::string::npos);
}

TEST_CASE("a picture whose caption has no place fails alone, and stays") {
  const TemporaryFolder folder;
  WritePictures(folder / "pictures", 9);
  fs::rename(folder / "pictures/picture 0.png", folder / "pictures/photo.txt");
  fs::copy_file(folder / "pictures/photo.txt", folder / "pictures/photo.png");
  fs::create_directories(folder / "pictures/picture 3.txt");
  REQUIRE(::mkfifo((folder / "pictures/picture 6.txt").c_str(), 0600) == 0);
  const std::string photo = ReadText(folder / "pictures/photo.txt");
  for (const Arguments& more : {Arguments{"--write-txt"}, Arguments{"--write-txt", "--overwrite"}}) {
    const ProgramResult result = RunProgram(Caption(folder / "pictures", more));
    INFO(result.err);
    CHECK(result.exit_code == 3);
    for (const std::string name : {"photo.png", "photo.txt", "picture 3.png", "picture 6.png"}) {
      CHECK(result.err.find(name + ": its caption would go to ") != std::string::npos);
    }
    CHECK(result.err.find("6 captioned, 4 failed") != std::string::npos);
    CHECK(ReadText(folder / "pictures/photo.txt") == photo);
    CHECK(fs::exists(folder / "pictures/b/picture 1.txt"));
  }
}

TEST_CASE("a caption that cannot be written fails alone") {
  const TemporaryFolder folder;
  WritePictures(folder / "pictures", 9);
  fs::create_symlink("nowhere/a.txt", folder / "pictures/picture 3.txt");
  const ProgramResult result = RunProgram(Caption(folder / "pictures", {"--write-txt"}));
  INFO(result.err);
  CHECK(result.exit_code == 3);
  CHECK(result.err.find("picture 3.txt: cannot write: ") != std::string::npos);
  CHECK(result.err.find("8 captioned, 2 failed") != std::string::npos);  // the link itself is the other
}

}  // namespace
}  // namespace bifrons
