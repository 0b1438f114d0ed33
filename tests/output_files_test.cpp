// Files below a folder that others write into as well.
#include "src/jobs/output_files.h"

#include "tests/abandoned_file.h"

namespace bifrons {
namespace {

std::span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

OutputFiles Open(const fs::path& folder) {
  auto files = OutputFiles::Open(folder);
  REQUIRE(files.ok());
  return std::move(files).value();
}

TEST_CASE("only what was found is written over, while it is the same") {
  for (const bool nameless : {true, false}) {
    const TemporaryFolder folder;
    OutputFiles files = Open(folder.path());
    const AtomicFileOptions options{.nameless = nameless};
    const std::string path = folder / "a/b/c.png";
    const auto write = [&](const std::string& text, const std::optional<OutputFiles::Found>& over) {
      return files.Write("a/b/c.png", Bytes(text), over, options);
    };
    const auto nothing = files.Look("a/b/c.png");
    REQUIRE((nothing.ok() && !*nothing));
    REQUIRE(write("one", *nothing).ok());
    CHECK(write("one", *nothing).ok());  // the very same, by whomever
    const Status taken = write("two", *nothing);
    REQUIRE_FALSE(taken.ok());
    CHECK(taken.error().message.find("move it away") != std::string::npos);
    CHECK(ReadText(path) == "one");

    const auto one = files.Look("a/b/c.png");
    REQUIRE((one.ok() && *one && (*one)->bytes() == 3));
    REQUIRE(write("two", *one).ok());
    CHECK(ReadText(path) == "two");
    CHECK_FALSE(write("three", *one).ok());  // another file by now
    const auto two = files.Look("a/b/c.png");
    WriteText(path, "my own");
    CHECK_FALSE(write("three", *two).ok());
    CHECK(ReadText(path) == "my own");
    // One that is gone needs no replacing.
    fs::remove(path);
    REQUIRE(write("three", *two).ok());
    CHECK(ReadText(path) == "three");
    // A link took its place.
    const auto three = files.Look("a/b/c.png");
    fs::rename(path, folder / "elsewhere");
    fs::create_symlink(folder / "elsewhere", path);
    CHECK_FALSE(write("four", *three).ok());
    CHECK(ReadText(folder / "elsewhere") == "three");
  }
}

TEST_CASE("nothing is written out of the folder") {
  const TemporaryFolder folder;
  fs::create_directories(folder / "out/real");
  fs::create_directories(folder / "outside");
  fs::create_symlink("../outside", folder / "out/up");
  fs::create_symlink(folder / "outside", folder / "out/absolute");
  fs::create_symlink("/nowhere/at/all", folder / "out/nowhere");
  fs::create_symlink("real", folder / "out/inside");
  WriteText(folder / "out/file", "");
  OutputFiles files = Open(folder / "out");
  for (const std::string file : {"up/a.png", "up/b/a.png", "absolute/a.png", "nowhere/a.png", "file/a.png",
                                 "inside/../../outside/a.png", "inside/up/../../../outside/a.png"}) {
    INFO(file);
    const Status written = files.Write(file, Bytes("one"), std::nullopt);
    CHECK_FALSE(written.ok());
    CHECK_FALSE(files.Look(file).ok());
  }
  CHECK(fs::is_empty(folder / "outside"));
  CHECK(files.Write("inside/a.png", Bytes("one"), std::nullopt).ok());
  CHECK(ReadText(folder / "out/real/a.png") == "one");
}

TEST_CASE("a folder that was replaced is not the one that was opened") {
  const TemporaryFolder folder;
  fs::create_directory(folder / "out");
  OutputFiles files = Open(folder / "out");
  CHECK(files.IsThere());
  fs::rename(folder / "out", folder / "away");
  CHECK_FALSE(files.IsThere());
  fs::create_directory(folder / "out");
  CHECK_FALSE(files.IsThere());
}

TEST_CASE("folders are swept when they are opened and when they are first written to") {
  const TemporaryFolder folder;
  fs::create_directories(folder / "sub/sub");
  AbandonedFile above(folder.path()), below(folder / "sub/sub");
  above.Kill(), below.Kill();
  OutputFiles files = Open(folder.path());
  CHECK_FALSE(fs::exists(folder / above.name()));
  CHECK(fs::exists(folder / ("sub/sub/" + below.name())));
  CHECK(files.Look("sub/sub/a.png").ok());
  CHECK_FALSE(fs::exists(folder / ("sub/sub/" + below.name())));
}

}  // namespace
}  // namespace bifrons
