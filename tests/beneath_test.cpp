// What stays below a folder, and what leads out of it.
#include "src/base/beneath.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/run_program.h"

namespace bifrons {
namespace {

namespace fs = std::filesystem;

// What the file holds, or why it cannot be opened.
std::string Read(const std::string& folder, const std::string& relative, int flags = O_RDONLY) {
  const auto fd = OpenBeneath(folder, relative, flags | O_NONBLOCK);
  if (!fd.ok()) return fd.error().message;
  char text[64];
  const ssize_t size = ::read(*fd, text, sizeof text);
  ::close(*fd);
  return size < 0 ? "cannot read" : std::string(text, static_cast<size_t>(size));
}

bool LeadsOut(const std::string& message) {
  return message.find("leads out of its folder") != std::string::npos;
}

TEST_CASE("files below a folder are opened, and nothing outside of it") {
  const TemporaryFolder all;
  const std::string folder = all / "out";
  fs::create_directories(folder + "/a/b");
  WriteText(all / "secret", "secret");
  WriteText(folder + "/top", "top");
  WriteText(folder + "/a/b/deep", "deep");
  CHECK(Read(folder, "top") == "top");
  CHECK(Read(folder, "a/b/deep") == "deep");
  CHECK(Read(folder, "a/./b//deep") == "deep");
  CHECK(Read(folder, "a/../top") == "top");
  CHECK(LeadsOut(Read(folder, "../secret")));
  CHECK(LeadsOut(Read(folder, "a/../../secret")));
  CHECK(LeadsOut(Read(folder, "..")));
  CHECK(LeadsOut(Read(folder, all / "secret")));
  CHECK(Read(folder, "none").find("none: cannot open: No such file or directory") != std::string::npos);
  CHECK(Read(folder, "top/x").find("Not a directory") != std::string::npos);
  CHECK(Read(folder, "top/").find("Not a directory") != std::string::npos);
  CHECK(Read(all / "nowhere", "top").find("No such file or directory") != std::string::npos);
}

TEST_CASE("links are followed while they stay below the folder") {
  const TemporaryFolder all;
  const std::string folder = all / "out";
  fs::create_directories(folder + "/a/b");
  fs::create_directories(all / "elsewhere");
  WriteText(all / "elsewhere/secret", "secret");
  WriteText(folder + "/top", "top");
  WriteText(folder + "/a/b/deep", "deep");
  const auto link = [&](const std::string& target, const std::string& name) {
    fs::create_symlink(target, folder + "/" + name);
  };
  link("a/b", "to_folder"), link("../../top", "a/b/up"), link("a/b/deep", "to_file");
  link("to_folder/up", "chain");
  CHECK(Read(folder, "to_folder/deep") == "deep");
  CHECK(Read(folder, "a/b/up") == "top");
  CHECK(Read(folder, "to_file") == "deep");
  CHECK(Read(folder, "chain") == "top");
  CHECK(OpenBeneath(folder, "to_folder", O_PATH | O_DIRECTORY).ok());
  CHECK_FALSE(OpenBeneath(folder, "to_file", O_RDONLY | O_NOFOLLOW).ok());

  link("../elsewhere/secret", "out_file"), link("../elsewhere", "out_folder");
  link(all / "elsewhere", "absolute"), link("a/../../elsewhere/secret", "winding");
  link("/proc/self/cwd", "magic"), link("to_folder/../../../elsewhere/secret", "through_a_link");
  for (const char* name : {"out_file", "out_folder/secret", "absolute/secret", "winding", "magic/README.md",
                           "through_a_link", "to_folder/../../../elsewhere/secret"}) {
    INFO(name);
    CHECK(LeadsOut(Read(folder, name)));
  }
  const auto path_only = OpenBeneath(folder, "out_file", O_PATH);
  REQUIRE_FALSE(path_only.ok());
  CHECK(LeadsOut(path_only.error().message));

  link("loop_b", "loop_a"), link("loop_a", "loop_b");
  CHECK(Read(folder, "loop_a").find("Too many levels of symbolic links") != std::string::npos);
  link("nothing", "dangling");
  CHECK(Read(folder, "dangling").find("No such file") != std::string::npos);
}

TEST_CASE("files are made below a folder, and none outside of it") {
  const TemporaryFolder all;
  const std::string folder = all / "out";
  fs::create_directories(folder);
  fs::create_directories(all / "elsewhere");
  fs::create_symlink("../elsewhere/made", folder + "/escape");
  fs::create_symlink("../elsewhere", folder + "/sub");
  const auto make = [&](const std::string& name, int flags) {
    const auto fd = OpenBeneath(folder, name, O_WRONLY | O_CREAT | flags, 0600);
    if (fd.ok()) ::close(*fd);
    return fd.ok();
  };
  CHECK(make("new", O_EXCL));
  CHECK_FALSE(make("new", O_EXCL));
  CHECK(make("new", O_TRUNC));
  CHECK((fs::status(folder + "/new").permissions() & fs::perms::all) == fs::perms(0600));
  CHECK_FALSE(make("escape", 0));
  CHECK_FALSE(make("escape", O_EXCL));
  CHECK_FALSE(make("sub/made", 0));
  CHECK(fs::is_empty(all / "elsewhere"));
}

TEST_CASE("a FIFO keeps nobody waiting, and no descriptor stays open") {
  const TemporaryFolder folder;
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  fs::create_directories(folder / "a/b/c");
  WriteText(folder / "a/b/c/file", "x");
  fs::create_symlink("b/../b/c", folder / "a/link");
  const auto open_files = [] {
    const fs::directory_iterator all("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  const auto before = open_files();
  CHECK(Read(folder.path(), "pipe").empty());
  CHECK(Read(folder.path(), "a/link/file") == "x");
  CHECK(Read(folder.path(), "a/link/none") != "x");
  CHECK(Read(folder.path(), "a/b/c/../../../../x") != "x");
  CHECK(open_files() == before);
}

}  // namespace
}  // namespace bifrons
