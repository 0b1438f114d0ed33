// Files that only grow: torn ends, owners, files that vanish, disks that are full.
#include "src/base/line_file.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>

#include "tests/run_program.h"

namespace bifrons {
namespace {

using Mode = LineFile::Mode;

Status Ignore(std::string_view, int64_t) { return {}; }

// What the files' lines are: "one" and more, and where they end in a brace, "one}".
const LineKind kOne{"one", [](std::string_view line, int64_t) -> Status {
                      if (line != "one}") return DataError("not mine");
                      return {};
                    }};

TEST_CASE("whole lines are visited, and a torn one is cut off when the file is opened") {
  const TemporaryFolder folder;
  const std::string path = folder / "a.jsonl";
  WriteText(path, "one\n\nthree\nfou");
  std::string seen;
  const auto see = [&](std::string_view line, int64_t number) -> Status {
    seen += std::to_string(number) + "=" + std::string(line) + ";";
    return {};
  };
  REQUIRE(ReadLines(path, see).ok());
  CHECK(seen == "1=one;3=three;");
  CHECK(ReadText(path) == "one\n\nthree\nfou");  // somebody else may be about to finish it

  seen.clear();
  {
    auto file = LineFile::Open(path, Mode::kOwn, see, kOne);
    REQUIRE(file.ok());
    CHECK(seen == "1=one;3=three;");
    REQUIRE(file->AppendAndSync("four").ok());
    REQUIRE(file->Append("five").ok());
  }
  CHECK(ReadText(path) == "one\n\nthree\nfour\nfive\n");

  // A file that is refused stays as it is.
  WriteText(path, "one\ntorn");
  const auto refuse = [](std::string_view, int64_t) -> Status { return DataError("not mine"); };
  CHECK_FALSE(LineFile::Open(path, Mode::kKeep, refuse, kOne).ok());
  CHECK(ReadText(path) == "one\ntorn");
  REQUIRE(LineFile::Open(path, Mode::kEmpty, refuse, kOne).ok());
  CHECK(ReadText(path).empty());
  CHECK_FALSE(ReadLines(folder / "none", Ignore).ok());
}

TEST_CASE("a file has one owner at a time") {
  const TemporaryFolder folder;
  const std::string path = folder / "a.jsonl";
  {
    const auto owner = LineFile::Open(path, Mode::kOwn, Ignore, kOne);
    REQUIRE(owner.ok());
    const auto other = LineFile::Open(path, Mode::kOwn, Ignore, kOne);
    REQUIRE_FALSE(other.ok());
    CHECK(other.error().message.find("another process is writing it") != std::string::npos);
  }
  CHECK(LineFile::Open(path, Mode::kOwn, Ignore, kOne).ok());
}

TEST_CASE("a line is not written to a file that was removed") {
  const TemporaryFolder folder;
  auto file = LineFile::Open(folder / "a.jsonl", Mode::kOwn, Ignore, kOne);
  REQUIRE(file.ok());
  REQUIRE(file->Append("one").ok());
  fs::remove(folder / "a.jsonl");
  const Status removed = file->AppendAndSync("two");
  REQUIRE_FALSE(removed.ok());
  CHECK(removed.error().message.find("was removed") != std::string::npos);
}

TEST_CASE("nothing follows a line that could not be written whole") {
  const TemporaryFolder folder;
  auto file = LineFile::Open(folder / "a.jsonl", Mode::kOwn, Ignore, kOne);
  REQUIRE(file.ok());
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{}, limit{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  limit = before, limit.rlim_cur = 10;
  REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  const Status fits = file->Append("12345"), torn = file->Append("67890");
  REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
  CHECK(fits.ok());
  REQUIRE_FALSE(torn.ok());
  CHECK_FALSE(file->Append("more").ok());
  CHECK(ReadText(folder / "a.jsonl") == "12345\n6789");
}

TEST_CASE("a torn line that anybody may have written is not cut off") {
  const TemporaryFolder folder;
  const std::string path = folder / "a.jsonl";
  for (const std::string text :
       {"notes of mine", "o", "on my own", "\n\nmine", "\n", "two", "one and {this}"}) {
    INFO(text);
    WriteText(path, text);
    const bool ours = text == "o" || text == "\n";
    for (const Mode mode : {Mode::kOwn, Mode::kKeep})
      CHECK(LineFile::Open(path, mode, Ignore, kOne).ok() == ours);
    CHECK(ReadText(path) == (text == "o" ? "" : text));
  }
  for (const std::string text : {"one more", "one {a", "one}", "one and {this} and"}) {
    WriteText(path, text);
    CHECK(LineFile::Open(path, Mode::kOwn, Ignore, kOne).ok());
    CHECK(ReadText(path).empty());
  }
}

TEST_CASE("what is no regular file is neither waited for nor followed") {
  const TemporaryFolder folder;
  const std::string pipe = folder / "pipe", link = folder / "link", target = folder / "target";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  CHECK_FALSE(ReadLines(pipe, Ignore).ok());
  CHECK_FALSE(ReadLines(folder.path().string(), Ignore).ok());
  for (const Mode mode : {Mode::kKeep, Mode::kEmpty, Mode::kOwn, Mode::kNew}) {
    CHECK_FALSE(LineFile::Open(pipe, mode, Ignore, kOne).ok());
    CHECK_FALSE(LineFile::Open(folder.path().string(), mode, Ignore, kOne).ok());
  }
  fs::create_symlink("target", link);
  for (const Mode mode : {Mode::kOwn, Mode::kNew}) CHECK_FALSE(LineFile::Open(link, mode, Ignore, kOne).ok());
  CHECK_FALSE(fs::exists(target));
  WriteText(target, "one\n");
  CHECK_FALSE(LineFile::Open(link, Mode::kOwn, Ignore, kOne).ok());
  CHECK_FALSE(LineFile::Open(target, Mode::kNew, Ignore, kOne).ok());
  CHECK(LineFile::Open(link, Mode::kKeep, Ignore, kOne).ok());  // the user's own words
  CHECK(ReadText(target) == "one\n");
}

}  // namespace
}  // namespace bifrons
