// Which images a caption run takes, where its texts go, and what it keeps of an interrupted one.
#include "src/engine/caption_files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace bifrons {
namespace {
namespace fs = std::filesystem;

// A folder that goes away with the test.
struct Folder {
  fs::path path = fs::temp_directory_path() / ("bifrons_caption_files_" + std::to_string(::getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string Add(const std::string& name, const std::string& text = "") const {
    fs::create_directories((path / name).parent_path());
    std::ofstream(path / name) << text;
    return (path / name).string();
  }
  std::string Read(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(path / name).rdbuf();
    return text.str();
  }
};

TEST_CASE("Folders give their images in order, other inputs stay as they are") {
  const Folder folder;
  const auto b = folder.Add("b.PNG"), a = folder.Add("a.jpeg"), c = folder.Add("sub/c.webp");
  folder.Add("notes.txt"), folder.Add("sub/d.json");
  fs::create_directories(folder.path / "folder.png");
  const std::string root = folder.path.string();

  const auto flat = FindImages({"x.bmp", root, "-"}, false);
  REQUIRE(flat.ok());
  CHECK(flat->images == std::vector<std::string>{"x.bmp", a, b, "-"});
  const auto deep = FindImages({root}, true);
  REQUIRE(deep.ok());
  CHECK(deep->images == std::vector<std::string>{a, b, c});

  fs::create_directories(folder.path / "none");
  const auto none = FindImages({root + "/none"}, false);
  REQUIRE_FALSE(none.ok());
  CHECK(none.error().kind == ErrorKind::kBadData);
  CHECK(none.error().message.find("holds no images") != std::string::npos);
}

TEST_CASE("A picture in a folder is one by its contents, whatever its name") {
  const Folder folder;
  const std::string jpeg = "\xFF\xD8\xFF rest", png = "\x89PNG\r\n\x1a\n rest";
  std::vector<std::string> images = {folder.Add("IMG.2024", jpeg), folder.Add("a.jfif", jpeg),
                                     folder.Add("b.txt", png), folder.Add("none", "GIF89a rest"),
                                     // Known and not read: reported when it is looked at.
                                     folder.Add("scan.data", "\xFF\x0A JPEG XL"),
                                     folder.Add("vector", "<svg>"),
                                     // Named like a picture, and none: reported as well.
                                     folder.Add("e.jpe", "text"), folder.Add("f.tif", "")};
  folder.Add("notes.txt", "P is for prose"), folder.Add("list.json", "{}"), folder.Add("paper", "%PDF-1.7");
  folder.Add("empty", "");
  std::ranges::sort(images);
  const auto found = FindImages({folder.path.string()}, false);
  REQUIRE(found.ok());
  CHECK(found->images == images);
  CHECK(found->unseen.empty());
}

TEST_CASE("Hidden files and those of systems are no pictures") {
  const Folder folder;
  const std::string jpeg = "\xFF\xD8\xFF rest";
  for (const std::string name :
       {"._a.jpg", ".hidden.png", "Thumbs.db", "__MACOSX/._a.jpg", "__MACOSX/b.jpg",
        "@eaDir/a.jpg/SYNOFILE_THUMB_M.jpg", ".thumbnails/c.png", ".Trash-1000/files/d.jpg",
        "$RECYCLE.BIN/e.jpg", "System Volume Information/f.jpg", "#recycle/g.jpg", "deep/@eaDir/h.jpg"}) {
    folder.Add(name, jpeg);
  }
  const std::string only = folder.Add("a.jpg", jpeg);
  const auto found = FindImages({folder.path.string()}, true);
  REQUIRE(found.ok());
  CHECK(found->images == std::vector<std::string>{only});
  CHECK(found->unseen.empty());
  // Whoever names such a folder means it.
  const auto named = FindImages({(folder.path / "__MACOSX").string()}, false);
  REQUIRE(named.ok());
  CHECK(named->images == std::vector<std::string>{(folder.path / "__MACOSX/b.jpg").string()});
}

TEST_CASE("Links are followed to pictures, and reported where they lead nowhere") {
  const Folder folder;
  const std::string real = folder.Add("../bifrons_caption_target.jpg", "\xFF\xD8\xFF rest");
  fs::create_symlink(real, folder.path / "good");
  fs::create_symlink("gone.jpg", folder.path / "dangling.jpg");
  fs::create_symlink("gone", folder.path / "dangling");
  fs::create_symlink("round", folder.path / "round");
  fs::create_directory_symlink(folder.path, folder.path / "circle");
  const auto found = FindImages({folder.path.string()}, true);
  fs::remove(real);
  REQUIRE(found.ok());
  CHECK(found->images == std::vector<std::string>{(folder.path / "good").string()});
  REQUIRE(found->unseen.size() == 3);
  CHECK(found->unseen[1].find("dangling: a link to gone, which cannot be reached") != std::string::npos);
  CHECK(found->unseen[0].find("dangling.jpg: a link to gone.jpg") != std::string::npos);
  CHECK(found->unseen[2].find("round: a link to round, which cannot be reached") != std::string::npos);
}

TEST_CASE("A pipe in a folder is no picture and keeps nobody waiting") {
  const Folder folder;
  REQUIRE(::mkfifo((folder.path / "pipe.jpg").c_str(), 0600) == 0);
  const std::string only = folder.Add("a.png");
  const auto found = FindImages({folder.path.string()}, false);
  REQUIRE(found.ok());
  CHECK(found->images == std::vector<std::string>{only});
}

TEST_CASE("Every text has its own place beside its image") {
  const auto jobs = PlaceTexts({"x/a.png", "a.b.jpg", "x/a.png"});
  REQUIRE(jobs.ok());
  REQUIRE(jobs->size() == 2);
  CHECK(jobs->at(0).txt == "x/a.txt");
  CHECK(jobs->at(1).txt == "a.b.txt");

  const auto shared = PlaceTexts({"a.png", "a.jpg"});
  REQUIRE_FALSE(shared.ok());
  CHECK(shared.error().message.find("a.png and a.jpg") != std::string::npos);
  CHECK_FALSE(PlaceTexts({"-"}).ok());
  CHECK_FALSE(PlaceTexts({"data:image/png;base64,AA"}).ok());
}

TEST_CASE("A caption's place that is no text is not written") {
  const Folder folder;
  const std::string jpeg = "\xFF\xD8\xFF rest";
  const std::string at = folder.path.string() + "/";
  folder.Add("named.txt", jpeg), folder.Add("b.txt", jpeg), folder.Add("unread.txt", "\xFF\x0A JPEG XL");
  folder.Add("text.txt", "a dog"), folder.Add("empty.txt"), folder.Add("input.txt", "what is this?");
  fs::create_directories(folder.path / "folder.txt");
  REQUIRE(::mkfifo((folder.path / "pipe.txt").c_str(), 0600) == 0);
  fs::create_symlink("b.txt", folder.path / "link.txt");
  fs::create_symlink("text.txt", folder.path / "other.txt");
  const auto jobs =
      PlaceTexts({at + "named.txt", at + "b.png", at + "b.txt", at + "b.txt", at + "unread.png",
                  at + "input.png", at + "./input.txt", at + "folder.png", at + "pipe.png", at + "link.png",
                  at + "text.png", at + "empty.png", at + "other.png", at + "new.png"});
  REQUIRE(jobs.ok());
  const std::vector<std::string> reasons = {"named.txt, which is a picture",
                                            "b.txt, which is a picture",
                                            "b.txt, which is a picture",
                                            "unread.txt, which is a picture",
                                            "input.txt, which is one of the inputs",
                                            "input.txt, which is one of the inputs",
                                            "folder.txt, which is a folder",
                                            "pipe.txt, which is no regular file",
                                            "link.txt, which is a picture",
                                            "",
                                            "",
                                            "",
                                            ""};
  REQUIRE(jobs->size() == reasons.size());
  for (size_t i = 0; i < reasons.size(); i++) {
    const CaptionJob& job = jobs->at(i);
    INFO(job.source << ": " << job.obstacle);
    CHECK(job.obstacle.empty() == reasons[i].empty());
    CHECK(job.obstacle.find(reasons[i]) != std::string::npos);
  }
}

std::string Line(const std::string& file, const std::string& question) {
  return "{\"file\":\"" + file + "\",\"question\":\"" + question + "\",\"text\":\"x\"}";
}

TEST_CASE("A results file keeps whole lines and loses a torn one") {
  const Folder folder;
  const std::string whole = Line("a.png", "What?") + "\n" + Line("b.png", "Why?") + "\n";
  // Wherever a killed process stopped writing the last line.
  const std::string last = Line("c.png", "What?");
  for (size_t n = 0; n <= last.size(); n++) {
    const std::string path = folder.Add("r.jsonl", whole + last.substr(0, n));
    {
      auto file = JsonLinesFile::Open(path, false);
      REQUIRE(file.ok());
      CHECK(file->Holds("a.png", "What?"));
      CHECK(file->Holds("b.png", "Why?"));
      CHECK_FALSE(file->Holds("a.png", "Why?"));
      CHECK_FALSE(file->Holds("c.png", "What?"));
      REQUIRE(file->Append(last).ok());
    }
    CHECK(folder.Read("r.jsonl") == whole + last + "\n");
  }
  auto emptied = JsonLinesFile::Open(folder.Add("r.jsonl", whole), true);
  REQUIRE(emptied.ok());
  CHECK_FALSE(emptied->Holds("a.png", "What?"));
  CHECK(folder.Read("r.jsonl") == whole);  // until there is something to put in its place
  for (int i = 1; i <= 2; i++) {
    REQUIRE(emptied->Append(last).ok());
    CHECK(folder.Read("r.jsonl") == (i == 1 ? last + "\n" : last + "\n" + last + "\n"));
  }
}

TEST_CASE("A file of something else is not appended to") {
  const Folder folder;
  for (const std::string text : {"hello\n", "[1]\n", "{\"file\":1}\n", "{\"file\":\"a\"}\n", "\"x\"\n"}) {
    const std::string path = folder.Add("other.txt", Line("a", "b") + "\n" + text);
    const auto file = JsonLinesFile::Open(path, false);
    REQUIRE_FALSE(file.ok());
    CHECK(file.error().kind == ErrorKind::kBadData);
    CHECK(file.error().message.find("other.txt:2") != std::string::npos);
    CHECK_FALSE(JsonLinesFile::Open(path, true).ok());
    CHECK(folder.Read("other.txt") == Line("a", "b") + "\n" + text);
  }
  CHECK_FALSE(JsonLinesFile::Open((folder.path / "no" / "r.jsonl").string(), false).ok());
}

}  // namespace
}  // namespace bifrons
