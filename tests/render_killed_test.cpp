// Rendering that is killed, ended, or runs out of disk, and started again: all pictures, each once, the right
// ones.
#include <cstdlib>
#include <random>

#include "tests/rendered.h"

namespace bifrons {
namespace {

const Arguments kTiny = {"--model", kTinyModel, "--dtype", "f32", "--threads", "1"};
const Arguments kBundled = {};  // janus-mini

std::string Prompts(int count) {
  std::string text;
  for (int i = 0; i < count; i++) text += "a dog on a blue background, number " + std::to_string(i) + "\n";
  return text;
}

// Jobs have no seeds of their own: that a restart comes to the same ones is part of what is tested. So the
// undisturbed run gets the first run's base, the first line of its manifest.
class KillTest {
 public:
  KillTest(const Arguments& model, int jobs) : model_(model), jobs_(static_cast<size_t>(jobs)) {
    WriteText(list_, Prompts(jobs));
  }

  Arguments Command(const std::string& folder) const {
    return Join({"render", list_, "-o", folder, "--batch", "8"}, model_);
  }
  Arguments Command() const { return Command(out_); }

  // `end` ends a running program; it is told how many pictures there were before.
  template <class End>
  void Check(int times, const End& end) {
    int in_the_middle = 0;
    for (int i = 0; i < times; i++) {
      const size_t before = Count();
      // A random moment of the part of the list that is this turn's.
      const size_t share = (jobs_ - before) / static_cast<size_t>(times - i);
      const size_t wanted = before + random_() % (share + 1);
      Program program(Command());
      // Of an earlier run there may be enough already: that is no sign of life of this one.
      WaitFor(program,
              [&] { return program.HandlesSignals() && CountLines(manifest_) > 0 && Count() >= wanted; });
      std::this_thread::sleep_for(std::chrono::microseconds(random_() % 60'000));
      in_the_middle += end(program);
      CHECK(Count() >= before);
    }
    CHECK(in_the_middle >= times / 2);  // or this tests nothing
    Finish();
  }

  void Finish() {
    RunWell(Command());
    const std::string first_line = ReadText(manifest_).substr(0, ReadText(manifest_).find('\n') + 1);
    fs::create_directories(undisturbed_);
    WriteText(undisturbed_ + "/manifest.jsonl", first_line);
    RunWell(Command(undisturbed_));
    const auto expected = Pictures(undisturbed_);
    REQUIRE(expected.size() == jobs_);
    CHECK(Pictures(out_) == expected);  // no other file, and so no temporary one
    CHECK(Recorded(out_) == expected);  // no line twice
    CHECK(CountLines(manifest_) == jobs_ + 1);
    RunWell({"merge", out_, "--jobs", list_});
  }

  // Finished pictures: the lines behind the header.
  size_t Count() const { return std::max<size_t>(CountLines(manifest_), 1) - 1; }
  const std::string& out() const { return out_; }

 private:
  TemporaryFolder folder_;
  const Arguments model_;
  const size_t jobs_;
  const std::string list_ = folder_ / "jobs.txt", out_ = folder_ / "out",
                    undisturbed_ = folder_ / "undisturbed";
  const std::string manifest_ = out_ + "/manifest.jsonl";
  std::mt19937 random_{7};
};

bool Kill(Program& program) {
  program.Kill();
  const ProgramResult result = program.Wait();
  INFO(result.err);
  CHECK((result.signal == SIGKILL || result.exit_code == 0));
  return result.signal == SIGKILL;
}

template <int kSignal>
bool Ask(Program& program) {
  program.Signal(kSignal);
  const ProgramResult result = program.Wait();
  INFO(result.err);
  CHECK(result.signal == 0);
  CHECK((result.exit_code == 128 + kSignal || result.exit_code == 0));
  if (result.exit_code != 0) CHECK(result.err.find("interrupted") != std::string::npos);
  return result.exit_code != 0;
}

TEST_CASE("killed and started again, every picture is there once") { KillTest(kTiny, 60).Check(6, Kill); }
TEST_CASE("ended by SIGTERM and started again, every picture is there once") {
  KillTest(kTiny, 32).Check(3, Ask<SIGTERM>);
}
TEST_CASE("ended by SIGINT and started again, every picture is there once") {
  KillTest(kTiny, 16).Check(2, Ask<SIGINT>);
}

TEST_CASE("300 jobs killed at 20 random moments", "[.long]") { KillTest(kBundled, 300).Check(20, Kill); }
TEST_CASE("300 jobs ended at 20 random moments", "[.long]") {
  KillTest(kBundled, 300).Check(20, Ask<SIGTERM>);
}

int Shell(const std::string& script) {
  const int status = std::system(("exec 2>/dev/null; " + script).c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string Quoted(const Arguments& arguments) {
  std::string text = "'" + std::string(BIFRONS_PROGRAM) + "'";
  for (const std::string& argument : arguments) text += " '" + argument + "'";
  return text;
}

TEST_CASE("what cannot be written stops the run, and the same command continues") {
  KillTest test(kBundled, 12);
  const TemporaryFolder folder;
  const std::string log = folder / "log";
  // Files of more than 2 KB fail, as on a disk without room.
  const int exit_code = Shell("ulimit -f 4; exec " + Quoted(test.Command()) + " 2> '" + log + "'");
  CHECK(exit_code == 1);
  const std::string message = ReadText(log);
  INFO(message);
  CHECK(message.find("; the same command continues") != std::string::npos);
  CHECK(Pictures(test.out()).empty());
  test.Finish();
}

TEST_CASE("a folder that is removed meanwhile stops the run") {
  KillTest test(kTiny, 100);
  Program program(test.Command());
  WaitFor(program, [&] { return test.Count() > 1; });
  fs::rename(test.out(), test.out() + ".away");
  const ProgramResult result = program.Wait();
  INFO(result.err);
  CHECK(result.exit_code == 1);
  CHECK(result.err.find("was removed") != std::string::npos);
  CHECK_FALSE(fs::exists(test.out()));
  fs::rename(test.out() + ".away", test.out());
  test.Finish();
}

TEST_CASE("a full disk stops the run; with room again the same command finishes it") {
  const TemporaryFolder folder;
  const std::string list = folder / "jobs.txt", disk = folder / "disk", out = folder / "out";
  WriteText(list, Prompts(24));
  fs::create_directories(disk);
  const auto command = [&](const std::string& to) {
    return Join({"render", list, "-o", to, "--seed", "1", "--batch", "8"}, kTiny);
  };
  const std::string run = Quoted(command(disk + "/out"));
  // The disk has room for some pictures, and is gone with its namespace.
  const std::string script = "mount -t tmpfs -o size=64k none '" + disk + "' || exit 77; " + run +
                             " > /dev/null; code=$?; mount -o remount,size=64m '" + disk +
                             "' || exit 78; cp -r '" + disk + "/out' '" + (folder / "full") + "'; " + run +
                             " > /dev/null || exit 79; cp -r '" + disk + "/out' '" + out + "'; umount '" +
                             disk + "'; exit $code";
  WriteText(folder / "script", script);
  const std::string file = "sh '" + (folder / "script") + "'";
  int exit_code = Shell("unshare -rm true") == 0 ? Shell("exec unshare -rm " + file) : 77;
  if (exit_code == 77) exit_code = Shell("exec " + file);
  if (exit_code == 77) {
    WARN("no right to mount a small disk: not tested here");
    return;
  }
  CHECK(exit_code == 1);
  const auto full = Pictures(folder / "full");
  CHECK(!full.empty());
  CHECK(full.size() < 24);
  CHECK(Recorded(folder / "full").size() >= full.size() - 1);  // at most one without its line
  RunWell(command(folder / "undisturbed"));
  CHECK(Pictures(out) == Pictures(folder / "undisturbed"));
  CHECK(Recorded(out) == Pictures(out));
}

}  // namespace
}  // namespace bifrons
