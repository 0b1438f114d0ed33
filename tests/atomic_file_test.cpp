// Files that appear whole or not at all, with and without nameless files: what is replaced, what never is,
// and what killed processes leave.
#include "src/base/atomic_file.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "src/base/temporary_file.h"
#include "tests/abandoned_file.h"

namespace bifrons {
namespace {

std::span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

class OpenFolder {
 public:
  explicit OpenFolder(const fs::path& path) : fd_(::open(path.c_str(), O_RDONLY | O_DIRECTORY)) {
    REQUIRE(fd_ >= 0);
  }
  ~OpenFolder() { ::close(fd_); }
  operator int() const { return fd_; }

 private:
  const int fd_;
};

size_t Count(const fs::path& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

Status WriteIn(int folder, const std::string& name, const std::string& text, AtomicFileOptions options) {
  BIFRONS_TRY(AtomicFile file, AtomicFile::CreateIn(folder, name, name, options));
  BIFRONS_RETURN_IF_ERROR(file.Write(Bytes(text)));
  return file.Commit();
}

TEST_CASE("a file is replaced whole, or left as it is") {
  for (const bool nameless : {true, false}) {
    const TemporaryFolder folder;
    const OpenFolder open(folder.path());
    INFO(nameless);
    REQUIRE(WriteIn(open, "a", "one", {true, nameless}).ok());
    REQUIRE(WriteIn(open, "a", "two", {true, nameless}).ok());
    CHECK(ReadText(folder / "a") == "two");
    {
      auto given_up = AtomicFile::CreateIn(open, "a", "a", {true, nameless});
      REQUIRE(given_up.ok());
      REQUIRE(given_up->Write(Bytes("three")).ok());
    }
    CHECK(ReadText(folder / "a") == "two");
    CHECK(Count(folder.path()) == 1);
    const mode_t mask = ::umask(0027);
    CHECK(WriteIn(open, "b", "", {true, nameless}).ok());
    ::umask(mask);
    CHECK((fs::status(folder / "b").permissions() & fs::perms::all) == fs::perms(0640));
  }
}

TEST_CASE("a disk without room leaves the old file") {
  std::signal(SIGXFSZ, SIG_IGN);
  for (const bool nameless : {true, false}) {
    const TemporaryFolder folder;
    const OpenFolder open(folder.path());
    WriteText(folder / "a", "old");
    rlimit before{}, limit{};
    REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
    limit = before, limit.rlim_cur = 10;
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    const Status written = WriteIn(open, "a", std::string(100, 'x'), {true, nameless});
    REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK_FALSE(written.ok());
    CHECK(ReadText(folder / "a") == "old");
    CHECK(Count(folder.path()) == 1);
  }
}

TEST_CASE("a new file never takes the place of anything") {
  for (const bool nameless : {true, false}) {
    const TemporaryFolder folder;
    const OpenFolder open(folder.path());
    INFO(nameless);
    const auto come = [&](const std::string& name, const auto& make) {
      INFO(name);
      // Before the file is begun, and between that and its end.
      auto begun = AtomicFile::CreateIn(open, name, name, {false, nameless});
      REQUIRE(begun.ok());
      REQUIRE(begun->Write(Bytes("mine")).ok());
      make(folder / name);
      const Status late = begun->Commit();
      REQUIRE_FALSE(late.ok());
      CHECK(late.error().kind == ErrorKind::kUsage);
      CHECK_FALSE(WriteIn(open, name, "mine", {false, nameless}).ok());
    };
    come("file", [](const std::string& path) { WriteText(path, "theirs"); });
    come("folder", [](const std::string& path) { fs::create_directory(path); });
    come("link", [](const std::string& path) { fs::create_symlink("file", path); });
    come("nowhere", [](const std::string& path) { fs::create_symlink("/nowhere/at/all", path); });
    come("pipe", [](const std::string& path) { REQUIRE(mkfifo(path.c_str(), 0600) == 0); });
    CHECK(ReadText(folder / "file") == "theirs");
    CHECK(fs::is_symlink(folder / "link"));
    CHECK(fs::is_symlink(folder / "nowhere"));
    CHECK(fs::is_fifo(folder / "pipe"));
    CHECK(WriteIn(open, "new", "mine", {false, nameless}).ok());
    CHECK(ReadText(folder / "new") == "mine");
  }
}

TEST_CASE("of many who make a file at once, one does") {
  for (const bool nameless : {true, false}) {
    const TemporaryFolder folder;
    const OpenFolder open(folder.path());
    std::atomic<int> made{0};
    std::string winner;
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; i++) {
      threads.emplace_back([&, i] {
        if (!WriteIn(open, "a", std::to_string(i), {false, nameless}).ok()) return;
        made++;
        winner = std::to_string(i);
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(made == 1);
    CHECK(ReadText(folder / "a") == winner);
    CHECK(Count(folder.path()) == 1);
  }
}

TEST_CASE("a link is followed where the user names it") {
  const TemporaryFolder folder;
  fs::create_symlink("target", folder / "link");
  REQUIRE(WriteFileAtomically(folder / "link", Bytes("one")).ok());
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(ReadText(folder / "target") == "one");
  for (const std::string& path : {folder.path().string(), folder.path().string() + "/", folder / "none/a"})
    CHECK_FALSE(WriteFileAtomically(path, Bytes("one")).ok());
}

TEST_CASE("files of dead processes are swept, those of living ones and of others are not") {
  const TemporaryFolder folder;
  const OpenFolder open(folder.path());
  AbandonedFile theirs(folder.path());
  const std::string name = theirs.name();
  INFO(name);
  auto mine = AtomicFile::CreateIn(open, "mine", "mine", {true, false});
  REQUIRE(mine.ok());

  // Another host's, a similar name of anybody's, and what only begins or ends like ours.
  const std::string host = name.substr(9, 8), boot = name.substr(18, 8);
  const std::vector<std::string> others = {".bifrons-00000000-" + boot + "-1-0.tmp",
                                           ".bifrons-" + host + "-00000000-1-0.tmp",  // of today
                                           "bifrons-" + host + "-" + boot + "-1-0.tmp",
                                           ".bifrons-" + host + "-" + boot + "-1.tmp",
                                           ".bifrons-" + host + "-" + boot + "-1-0.tmp.png",
                                           ".bifrons-" + host + "-" + boot + "-1-x.tmp",
                                           ".bifrons-" + host + "-" + boot + "--0.tmp",
                                           ".bifrons-.tmp",
                                           "cat.png.1-0.tmp",
                                           "cat.png.AbCdEf.tmp"};
  for (const std::string& other : others) WriteText(folder / other, "theirs");
  const std::string link = ".bifrons-" + host + "-" + boot + "-1-1.tmp";
  fs::create_symlink("cat.png.1-0.tmp", folder / link);
  RemoveAbandoned(open);
  CHECK(Count(folder.path()) == others.size() + 3);
  CHECK(fs::exists(folder / name));

  theirs.Kill();
  RemoveAbandoned(open);
  CHECK_FALSE(fs::exists(folder / name));
  CHECK(Count(folder.path()) == others.size() + 2);
  for (const std::string& other : others) CHECK(fs::exists(folder / other));
  CHECK(mine->Commit().ok());

  // Once this machine was started anew, what is old enough to be nobody's.
  const fs::path earlier = folder / (".bifrons-" + host + "-00000000-1-0.tmp");
  fs::last_write_time(earlier, fs::file_time_type::clock::now() - std::chrono::hours(25));
  RemoveAbandoned(open);
  CHECK_FALSE(fs::exists(earlier));
}

}  // namespace
}  // namespace bifrons
