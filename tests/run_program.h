// Running the program as a user does: arguments in, exit code, output and files out.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "kernels/device.h"

extern char** environ;

namespace bifrons {

namespace fs = std::filesystem;

inline std::string ReadText(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void WriteText(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

/// A folder of its own for one test case, removed with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "bifrons-test-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const fs::path& path() const { return path_; }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

using Arguments = std::vector<std::string>;

inline Arguments Join(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline std::string Shown(const Arguments& arguments) {
  std::string text;
  for (const std::string& a : arguments) text += a + " ";
  return text;
}

/// The build's own program, or another that $BIFRONS_TEST_PROGRAM names.
inline const char* TestedProgram() {
  const char* other = std::getenv("BIFRONS_TEST_PROGRAM");
  return other != nullptr ? other : BIFRONS_PROGRAM;
}

/// Every way to compute on this machine, or the device that $BIFRONS_TEST_DEVICE names.
inline std::vector<Arguments> TestedDevices() {
  if (const char* device = std::getenv("BIFRONS_TEST_DEVICE")) return {{"--device", device}};
  std::vector<Arguments> devices = {{"--device", "ref"}};
  for (const std::string& isa : AvailableIsas()) devices.push_back({"--isa", isa});
  return devices;
}

/// The same with each arithmetic; ref has one.
inline std::vector<Arguments> TestedArithmetic() {
  std::vector<Arguments> all;
  for (const Arguments& device : TestedDevices()) {
    all.push_back(Join(device, {"--dtype", "f32"}));
    if (device.back() != "ref") all.push_back(Join(device, {"--dtype", "bf16"}));
  }
  return all;
}

struct ProgramResult {
  int exit_code = -1;
  int signal = 0;  // that ended it
  std::string out, err;
};

/// TestedProgram(), started with `arguments` in the current folder; `input` is its whole stdin.
class Program {
 public:
  explicit Program(const Arguments& arguments, const std::string& input = "") {
    WriteText(folder_ / "in", input);
    std::vector<char*> argv = {const_cast<char*>(TestedProgram())};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);

    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    const std::string in = folder_ / "in", out = folder_ / "out", err = folder_ / "err";
    const int create = O_WRONLY | O_CREAT | O_TRUNC;
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, in.c_str(), O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out.c_str(), create, 0600);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err.c_str(), create, 0600);
    const int failed = posix_spawn(&process_, TestedProgram(), &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    REQUIRE(failed == 0);
  }
  ~Program() {
    if (process_ > 0) Kill(), waitpid(process_, nullptr, 0);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void Kill() const { kill(process_, SIGKILL); }
  void Signal(int signal) const { kill(process_, signal); }
  /// Whether SIGTERM would reach its handler by now: a signal before that ends it as any program.
  bool HandlesSignals() const {
    const std::string status = ReadText("/proc/" + std::to_string(process_) + "/status"), field = "SigCgt:";
    const size_t at = status.find(field);
    if (at == std::string::npos) return false;
    return std::strtoull(status.c_str() + at + field.size(), nullptr, 16) >> (SIGTERM - 1) & 1;
  }
  /// Whether it has this file or folder open.
  bool HasOpen(const fs::path& path) const {
    std::error_code error;
    const fs::path wanted = fs::canonical(path, error);
    fs::directory_iterator it("/proc/" + std::to_string(process_) + "/fd", error);
    for (; !error && it != fs::directory_iterator(); it.increment(error)) {
      std::error_code gone;
      if (fs::read_symlink(it->path(), gone) == wanted) return true;
    }
    return false;
  }
  /// Bytes that it has read from files and pipes so far; what it maps does not count.
  uint64_t BytesRead() const {
    const std::string counts = ReadText("/proc/" + std::to_string(process_) + "/io"), field = "rchar: ";
    return counts.starts_with(field) ? std::strtoull(counts.c_str() + field.size(), nullptr, 10) : 0;
  }
  /// What it has printed so far.
  std::string Printed() const { return ReadText(folder_ / "out"); }

  /// Whether it has ended, without waiting.
  bool Ended() const {
    siginfo_t info{};
    return waitid(P_PID, static_cast<id_t>(process_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == process_;
  }

  ProgramResult Wait() {
    int status = 0;
    const pid_t ended = waitpid(process_, &status, 0);
    REQUIRE(ended == std::exchange(process_, 0));
    ProgramResult result;
    if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
    result.out = ReadText(folder_ / "out"), result.err = ReadText(folder_ / "err");
    return result;
  }

 private:
  TemporaryFolder folder_;
  pid_t process_ = 0;
};

/// Runs it to its end.
inline ProgramResult RunProgram(const Arguments& arguments, const std::string& input = "") {
  return Program(arguments, input).Wait();
}

/// The same for a command that has to succeed.
inline ProgramResult RunWell(const Arguments& arguments, const std::string& input = "") {
  INFO("bifrons " << Shown(arguments));
  ProgramResult result = RunProgram(arguments, input);
  INFO(result.err);
  REQUIRE(result.signal == 0);
  REQUIRE(result.exit_code == 0);
  return result;
}

}  // namespace bifrons
