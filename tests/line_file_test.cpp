// Files that only grow: torn ends, owners, files that vanish, disks that are full.
#include "src/base/line_file.h"

#include <sys/resource.h>

#include <csignal>

#include "tests/run_program.h"

namespace bifrons {
namespace {

using Mode = LineFile::Mode;

Status Ignore(std::string_view, int64_t) { return {}; }

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
    auto file = LineFile::Open(path, Mode::kOwn, see);
    REQUIRE(file.ok());
    CHECK(seen == "1=one;3=three;");
    REQUIRE(file->AppendAndSync("four").ok());
    REQUIRE(file->Append("five").ok());
  }
  CHECK(ReadText(path) == "one\n\nthree\nfour\nfive\n");

  // A file that is refused stays as it is.
  WriteText(path, "one\ntorn");
  const auto refuse = [](std::string_view, int64_t) -> Status { return DataError("not mine"); };
  CHECK_FALSE(LineFile::Open(path, Mode::kKeep, refuse).ok());
  CHECK(ReadText(path) == "one\ntorn");
  REQUIRE(LineFile::Open(path, Mode::kEmpty, refuse).ok());
  CHECK(ReadText(path).empty());
  CHECK_FALSE(ReadLines(folder / "none", Ignore).ok());
}

TEST_CASE("a file has one owner at a time") {
  const TemporaryFolder folder;
  const std::string path = folder / "a.jsonl";
  {
    const auto owner = LineFile::Open(path, Mode::kOwn, Ignore);
    REQUIRE(owner.ok());
    const auto other = LineFile::Open(path, Mode::kOwn, Ignore);
    REQUIRE_FALSE(other.ok());
    CHECK(other.error().message.find("another process is writing it") != std::string::npos);
  }
  CHECK(LineFile::Open(path, Mode::kOwn, Ignore).ok());
}

TEST_CASE("a line is not written to a file that was removed") {
  const TemporaryFolder folder;
  auto file = LineFile::Open(folder / "a.jsonl", Mode::kOwn, Ignore);
  REQUIRE(file.ok());
  REQUIRE(file->Append("one").ok());
  fs::remove(folder / "a.jsonl");
  const Status removed = file->AppendAndSync("two");
  REQUIRE_FALSE(removed.ok());
  CHECK(removed.error().message.find("was removed") != std::string::npos);
}

TEST_CASE("nothing follows a line that could not be written whole") {
  const TemporaryFolder folder;
  auto file = LineFile::Open(folder / "a.jsonl", Mode::kOwn, Ignore);
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

}  // namespace
}  // namespace bifrons
