// Nothing keeps the program waiting for ever, and signals end it in time.
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <chrono>
#include <functional>
#include <random>
#include <thread>

#include "tests/rendered.h"
#include "tests/test_pictures.h"

namespace bifrons {
namespace {

using Clock = std::chrono::steady_clock;

const Arguments kTiny = {"--model", kTinyModel, "--dtype", "f32", "--threads", "1"};
const std::string kPicture = (fs::path(BIFRONS_TEST_DIR) / "goldens/pictures/square.png").string();
const Arguments kRandom = {"generate", "--model", "random:janus-pro-1b", "a dog"};

std::string MakePipe(const std::string& path) {
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  return path;
}

std::string MakeSocket(const std::string& path) {
  struct sockaddr_un address {};
  address.sun_family = AF_UNIX;
  REQUIRE(path.size() < sizeof address.sun_path);
  std::copy(path.begin(), path.end(), address.sun_path);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  ::close(fd);
  return path;
}

void Sleep(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

// Waits for what the program ought to do within a minute.
bool Soon(const Program& program, const std::function<bool()>& condition) {
  const auto begun = Clock::now();
  return WaitFor(program, [&] { return condition() || Clock::now() - begun > std::chrono::minutes(1); }) &&
         condition();
}

// Waits until it hashes a large model and nothing else: the weights beside it are small, so they are loaded
// by then.
bool Hashes(const Program& program) {
  return Soon(program, [&] { return program.BytesRead() > 256u << 20; });
}

// It has to end with one line, in time.
ProgramResult EndBy(Program& program, int signal, double seconds = 2) {
  const auto begun = Clock::now();
  program.Signal(signal);
  const ProgramResult result = program.Wait();
  CHECK(std::chrono::duration<double>(Clock::now() - begun).count() < seconds);
  INFO(result.err);
  CHECK(result.signal == 0);
  return result;
}

void CheckEnds(Program& program, int signal, double seconds = 2) {
  const ProgramResult result = EndBy(program, signal, seconds);
  INFO(result.err);
  CHECK(result.exit_code == 128 + signal);
  CHECK(result.err.find("interrupted") != std::string::npos);
  CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
}

// It has to end by itself and not well.
void CheckRefused(const Arguments& arguments, const std::string& says) {
  INFO("bifrons " << Shown(arguments));
  Program program(arguments);
  REQUIRE(Soon(program, [&] { return program.Ended(); }));
  const ProgramResult result = program.Wait();
  INFO(result.err);
  CHECK(result.signal == 0);
  CHECK(result.exit_code > 0);
  CHECK(result.err.find(says) != std::string::npos);
  CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
}

TEST_CASE("a pipe that nobody writes is waited for until a signal comes") {
  const TemporaryFolder folder;
  const std::string pipe = MakePipe(folder / "pipe"), list = folder / "list", out = folder / "out";
  WriteText(list, "a dog\n");
  RunWell(Render(list, out));
  const std::vector<Arguments> commands = {
      Render(pipe, folder / "other"),
      {"merge", out, "--jobs", pipe},
      Join({"caption", pipe}, kTiny),
      Join({"caption", kPicture, pipe, "--jsonl", folder / "captions"}, kTiny),
      Join({"ask", kPicture, pipe, "What is this?"}, kTiny),
      Join({"chat", pipe}, kTiny),
      {"vq", "encode", pipe, "-o", folder / "codes.npy"},
      {"vq", "roundtrip", pipe},
      {"trace", "--image", pipe, "--question", "What is this?", "--out", folder / "trace"}};
  for (const int signal : {SIGTERM, SIGINT}) {
    for (const Arguments& command : commands) {
      INFO("bifrons " << Shown(command));
      Program program(command);
      REQUIRE(Soon(program, [&] { return program.HasOpen(pipe); }));
      CheckEnds(program, signal);
    }
  }
}

// Writes into a named pipe as soon as somebody reads it.
class Writer {
 public:
  Writer(const std::string& pipe, const std::string& text)
      : thread_([pipe, text] { WriteText(pipe, text); }) {}
  ~Writer() { thread_.join(); }

 private:
  std::thread thread_;
};

TEST_CASE("lists and named pictures come through pipes") {
  const TemporaryFolder folder;
  const std::string pipe = MakePipe(folder / "pipe"), list = folder / "list", file = folder / "file",
                    piped = folder / "piped";
  std::string prompts;
  for (int i = 0; i < 5; i++) prompts += "a dog, number " + std::to_string(i) + "\n";
  WriteText(list, prompts);
  RunWell(Render(list, file, {"--seed", "1"}));
  {
    const Writer writer(pipe, prompts);
    RunWell(Render(pipe, piped, {"--seed", "1"}));
  }
  CHECK(Pictures(piped) == Pictures(file));
  {
    const Writer writer(pipe, prompts);
    RunWell({"merge", file, "--jobs", pipe});
  }
  // What a shell makes of <(command), whose process may be through already.
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  REQUIRE(::write(ends[1], prompts.data(), prompts.size()) == static_cast<ssize_t>(prompts.size()));
  ::close(ends[1]);
  RunWell(Render("/dev/fd/" + std::to_string(ends[0]), folder / "substituted", {"--seed", "1"}));
  ::close(ends[0]);
  CHECK(Pictures(folder / "substituted") == Pictures(file));
  RunWell(Render("/dev/stdin", folder / "standard", {"--seed", "1"}), prompts);
  CHECK(Pictures(folder / "standard") == Pictures(file));

  const std::string caption = RunWell(Join({"caption", kPicture}, kTiny)).out;
  {
    const Writer writer(pipe, ReadText(kPicture));
    CHECK(RunWell(Join({"caption", pipe}, kTiny)).out == caption);
  }
  CHECK(RunWell(Join({"caption", "/dev/stdin"}, kTiny), ReadText(kPicture)).out == caption);
  RunWell({"vq", "encode", kPicture, "-o", folder / "codes.npy"});
  {
    const Writer writer(pipe, ReadText(kPicture));
    RunWell({"vq", "encode", pipe, "-o", folder / "piped.npy"});
  }
  CHECK(ReadText(folder / "piped.npy") == ReadText(folder / "codes.npy"));
}

TEST_CASE("what has to be a file is neither pipe nor socket nor device") {
  const TemporaryFolder folder;
  const std::string not_files[] = {MakePipe(folder / "pipe.png"), MakeSocket(folder / "socket.png"),
                                   "/dev/zero"};
  const std::string list = folder / "list";
  WriteText(list, "a dog\n");
  const std::string says = "not a regular file";
  for (const std::string& path : not_files) {
    CheckRefused({"generate", "--from", path}, says);
    if (path.ends_with(".png")) CheckRefused(Join({"generate", "a dog", "-o", path}, kTiny), says);
    CheckRefused(Join({"generate", "a dog", "--codes-out", path, "-o", folder / "x.png"}, kTiny), says);
    CheckRefused({"vq", "decode", path, "-o", folder / "x.png"}, says);
    CheckRefused({"trace", "--prompt", "a dog", "--codes", path, "--out", folder / "trace"}, says);
    CheckRefused(Join({"caption", kPicture, "--jsonl", path}, kTiny), says);
    CheckRefused({"generate", "--model", path, "a dog"}, "is not a folder");
  }
  for (const std::string& path : {not_files[1], not_files[2]}) {
    CheckRefused(Render(path, folder / "out"), path == "/dev/zero" ? "a device" : says);
    CheckRefused(Join({"caption", path}, kTiny), path == "/dev/zero" ? "a device" : says);
  }
}

TEST_CASE("no file of a model is a pipe") {
  const fs::path model = fs::path(kTinyModel).parent_path();
  for (const char* layout : {"converted", "original"}) {
    for (const auto& entry : fs::directory_iterator(model / layout)) {
      const std::string name = entry.path().filename().string();
      const TemporaryFolder folder;
      fs::copy(model / layout, folder.path(), fs::copy_options::recursive);
      fs::remove(folder / name);
      MakePipe(folder / name);
      CheckRefused({"ask", "--model", folder.path().string(), kPicture, "What is this?"},
                   "not a regular file");
    }
  }
  for (const char* index : {"model.safetensors.index.json", "pytorch_model.bin.index.json"}) {
    const TemporaryFolder folder;
    fs::copy(fs::path(kTinyModel) / "config.json", folder / "config.json");
    MakePipe(folder / index);
    CheckRefused({"info", "--model", folder.path().string()}, "not a regular file");
  }
}

TEST_CASE("no file of an output folder is a pipe") {
  const std::string batch =
      R"({"custom_id":"a","method":"POST","url":"/v1/images/generations","body":{"prompt":"a dog"}})"
      "\n";
  for (const std::string name : {"manifest.jsonl", "manifest-2.jsonl", "failed.jsonl", "output.jsonl"}) {
    const TemporaryFolder folder;
    const std::string list = folder / "list", out = folder / "out";
    WriteText(list, batch);
    RunWell(Render(list, out));
    fs::remove(out + "/" + name);
    MakePipe(out + "/" + name);
    CheckRefused(Render(list, out), "not a regular file");
    CHECK(fs::is_fifo(out + "/" + name));
    if (name != "output.jsonl") CheckRefused({"merge", out}, "not a regular file");
  }
}

TEST_CASE("a pipe that a request names fails that request alone") {
  const TemporaryFolder folder;
  const std::string pipe = MakePipe(folder / "pipe"), list = folder / "list", out = folder / "out";
  fs::copy(kPicture, folder / "picture.png");
  std::string lines;
  for (const std::string& image : {pipe, folder / "picture.png"}) {
    json body = {{"model", "janus"}};
    body["messages"] = {{{"role", "user"},
                         {"content",
                          {{{"type", "text"}, {"text", "What is this?"}},
                           {{"type", "image_url"}, {"image_url", {{"url", image}}}}}}}};
    lines += json{{"custom_id", image}, {"method", "POST"}, {"url", "/v1/chat/completions"}, {"body", body}}
                 .dump() +
             "\n";
  }
  WriteText(list, lines);
  Program program(Render(list, out));
  REQUIRE(Soon(program, [&] { return program.Ended(); }));
  CHECK(program.Wait().exit_code == 3);
  CHECK(JsonLines(out + "/failed.jsonl").size() == 1);
  CHECK(JsonLines(out + "/output.jsonl").size() == 2);
}

// A model that takes a minute to hash and no room on the disk.
void MakeLargeModel(const fs::path& folder) {
  fs::copy(kTinyModel, folder, fs::copy_options::recursive);
  const std::string path = (folder / "model.safetensors").string(), bytes = ReadText(path);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  json header = json::parse(bytes.substr(8, length));
  const uint64_t used = bytes.size() - 8 - length, more = uint64_t{64} << 30;
  header["more"] = {{"dtype", "U8"}, {"shape", {more}}, {"data_offsets", {used, used + more}}};
  const std::string text = header.dump();
  length = text.size();
  WriteText(path, std::string(reinterpret_cast<const char*>(&length), sizeof length) + text +
                      bytes.substr(bytes.size() - used));
  fs::resize_file(path, 8 + text.size() + used + more);
}

TEST_CASE("signals end the hashing of a large model") {
  const TemporaryFolder folder;
  MakeLargeModel(folder.path());
  for (const int signal : {SIGTERM, SIGINT}) {
    Program program({"generate", "--model", folder.path().string(), "a dog", "-o", folder / "x.png"});
    REQUIRE(Hashes(program));
    const ProgramResult result = EndBy(program, signal);
    CHECK(result.exit_code == 128 + signal);
    CHECK(result.err.ends_with("\nbifrons: interrupted\n"));  // behind a warning about the tensor
  }
}

TEST_CASE("a model that is cut short while it is hashed is refused") {
  const TemporaryFolder folder;
  MakeLargeModel(folder.path());
  Program program({"generate", "--model", folder.path().string(), "a dog", "-o", folder / "x.png"});
  REQUIRE(Hashes(program));
  fs::resize_file(folder / "model.safetensors", 1000);
  const ProgramResult result = program.Wait();
  INFO(result.err);
  CHECK(result.exit_code == 3);
  CHECK(result.err.ends_with("model.safetensors: changed while it was read; try again when it is whole\n"));
  CHECK(!fs::exists(folder / "x.png"));
}

TEST_CASE("a model that is cut short while it is loaded ends the program with a line") {
  const fs::path bundled = fs::path(BIFRONS_TEST_DIR).parent_path() / "assets/janus-mini";
  const std::string says = "bifrons: a file became shorter while it was read";
  bool met = false;
  for (int i = 0; i < 60 && !met; i++) {  // until it happens between two pages
    const TemporaryFolder folder;
    fs::copy(bundled, folder.path(), fs::copy_options::recursive);
    const std::string weights = folder / "model.safetensors";
    Program program({"generate", "-q", "-m", folder.path().string(), "a dog", "-o", folder / "x.png"});
    if (!Soon(program, [&] { return program.HasOpen(weights); })) continue;
    Sleep(0.002 * (i % 20));
    fs::resize_file(weights, fs::file_size(weights) / 2);
    const ProgramResult result = program.Wait();
    INFO(result.err);
    REQUIRE(result.signal == 0);
    REQUIRE((result.exit_code == 0 || result.exit_code == 3));
    met = result.exit_code == 3 && result.err.starts_with(says);
    CHECK((!met || !fs::exists(folder / "x.png")));
  }
  CHECK(met);
}

TEST_CASE("signals end the loading of a model") {
  for (const int signal : {SIGTERM, SIGINT}) {
    Program program(kRandom);
    REQUIRE(Soon(program, [&] { return program.HandlesSignals(); }));
    Sleep(0.4);
    if (program.Ended()) {
      WARN("not enough memory for this model: not tested here");
      return;
    }
    CheckEnds(program, signal);
  }
}

class FolderLock {
 public:
  explicit FolderLock(const std::string& folder) : fd_(::open(folder.c_str(), O_RDONLY | O_CLOEXEC)) {
    REQUIRE(::flock(fd_, LOCK_EX) == 0);
  }
  ~FolderLock() { ::close(fd_); }
  FolderLock(const FolderLock&) = delete;

 private:
  const int fd_;
};

TEST_CASE("signals end the waiting for another process, and the list goes on without one") {
  const TemporaryFolder folder;
  const std::string list = folder / "list", out = folder / "out";
  WriteText(list, "a dog\n");
  fs::create_directories(out);
  {
    const FolderLock lock(out);
    for (const int signal : {SIGTERM, SIGINT}) {
      Program program(Render(list, out));
      REQUIRE(Soon(program, [&] { return program.HasOpen(out); }));
      Sleep(0.1);
      CHECK_FALSE(program.Ended());
      CheckEnds(program, signal);
    }
    CHECK(fs::is_empty(out));
  }
  Program program(Render(list, out));
  {
    const FolderLock lock(out);
    Sleep(0.1);
  }
  CHECK(program.Wait().exit_code == 0);
}

TEST_CASE("signals end the reading of a list of a million lines") {
  const TemporaryFolder folder;
  const std::string list = folder / "list", out = folder / "out";
  std::string text;
  for (int i = 0; i < 1'000'000; i++) text += "a dog, number " + std::to_string(i) + "\n";
  WriteText(list, text);
  Program program(Render(list, out));
  REQUIRE(Soon(program, [&] { return fs::exists(out + "/manifest.jsonl"); }));
  Sleep(0.05);
  const ProgramResult result = EndBy(program, SIGTERM);
  CHECK(result.exit_code == 143);
  CHECK(Recorded(out) == Pictures(out));
}

TEST_CASE("SIGTERM during an answer ends the chat, not the answer alone") {
  const TemporaryFolder folder;
  std::string questions;
  for (int i = 0; i < 2000; i++) questions += "What is this, number " + std::to_string(i) + "?\n";
  for (const int signal : {SIGTERM, SIGINT}) {  // standard input is no terminal, so nobody is there to go on
    Program program(Join({"chat", kPicture}, kTiny), questions);
    REQUIRE(Soon(program, [&] { return !program.Printed().empty(); }));
    const ProgramResult result = EndBy(program, signal);
    INFO(result.err);
    CHECK(result.exit_code == 128 + signal);
  }
}

// The program with standard output and error that nobody reads: full pipes, so that it cannot end by itself.
class HeldUp {
 public:
  HeldUp() {
    REQUIRE(::pipe2(ends_, O_CLOEXEC) == 0);
    REQUIRE(::fcntl(ends_[1], F_SETFL, O_NONBLOCK) == 0);
    const std::string some(4096, ' ');
    while (::write(ends_[1], some.data(), some.size()) > 0) continue;
    REQUIRE(::fcntl(ends_[1], F_SETFL, 0) == 0);
    child_ = ::fork();
    if (child_ == 0) {
      ::dup2(ends_[1], STDOUT_FILENO);
      ::dup2(ends_[1], STDERR_FILENO);
      ::execl(BIFRONS_PROGRAM, BIFRONS_PROGRAM, "generate", "--help", nullptr);
      ::_exit(127);
    }
    Sleep(1);  // by then it is held up in its first line
  }
  ~HeldUp() { ::close(ends_[0]), ::close(ends_[1]); }
  HeldUp(const HeldUp&) = delete;

  void Signal(int signal) const { ::kill(child_, signal); }
  // Its exit code, and the seconds that it took from now on.
  std::pair<int, double> Wait() const {
    const auto begun = Clock::now();
    int status = 0;
    REQUIRE(::waitpid(child_, &status, 0) == child_);
    REQUIRE(WIFEXITED(status));
    return {WEXITSTATUS(status), std::chrono::duration<double>(Clock::now() - begun).count()};
  }

 private:
  int ends_[2];
  pid_t child_ = 0;
};

TEST_CASE("who cannot end by itself is ended, and by a second signal at once") {
  const HeldUp one, two;
  one.Signal(SIGTERM);
  const auto [code, seconds] = one.Wait();
  CHECK(code == 143);
  CHECK(seconds < 2);
  two.Signal(SIGTERM);
  Sleep(0.1);  // or both are one
  two.Signal(SIGINT);
  const auto [second_code, second_seconds] = two.Wait();
  CHECK(second_code == 130);
  CHECK(second_seconds < 0.5);
}

void CheckWhole(const std::string& out) {
  if (!fs::exists(out)) return;
  const auto pictures = Pictures(out);
  for (const auto& [file, hash] : pictures) CHECK(file.ends_with(".png"));  // and so no temporary one
  if (fs::exists(out + "/manifest.jsonl")) CHECK(Recorded(out) == pictures);
}

TEST_CASE("SIGTERM at random moments of loading, hashing, waiting and drawing", "[.long]") {
  constexpr uint32_t kSeed = 10;
  WARN("the seed is " << kSeed);
  std::mt19937 random(kSeed);
  const auto moment = [&](double most) { return most * static_cast<double>(random()) / 4294967296.0; };
  const TemporaryFolder folder, large;
  MakeLargeModel(large.path());
  const std::string list = folder / "list", out = folder / "out", drawn = folder / "drawn";
  std::string text;
  for (int i = 0; i < 5000; i++) text += "a dog on a blue background, number " + std::to_string(i) + "\n";
  WriteText(list, text);
  fs::create_directories(out);
  for (int i = 0; i < 5; i++) {
    {
      Program loading({"render", list, "-o", out, "--model", "random:janus-pro-1b"});
      Soon(loading, [&] { return loading.HandlesSignals(); });
      Sleep(moment(4));
      CheckEnds(loading, SIGTERM);
    }
    {
      Program hashing({"render", list, "-o", out, "--model", large.path().string()});
      Soon(hashing, [&] { return hashing.HandlesSignals(); });
      Sleep(moment(3));
      CHECK(EndBy(hashing, SIGTERM).exit_code == 143);
    }
    CHECK(fs::is_empty(out));
    {
      const FolderLock lock(out);
      Program waiting(Render(list, out));
      Soon(waiting, [&] { return waiting.HandlesSignals(); });
      Sleep(moment(2));
      CheckEnds(waiting, SIGTERM);
    }
    Program drawing(Render(list, drawn));
    Soon(drawing, [&] { return drawing.HandlesSignals(); });
    Sleep(moment(6));
    CHECK(EndBy(drawing, SIGTERM, 30).exit_code == 143);
    CheckWhole(out);
    CheckWhole(drawn);
  }
  CHECK(!Pictures(drawn).empty());
}

TEST_CASE("a standard input that is closed is an error at once") {
  const TemporaryFolder folder;
  for (const std::string& verb :
       std::vector<std::string>{"caption -", "vq roundtrip -", "render - -o '" + (folder / "out") + "'"}) {
    INFO(verb);
    const std::string err = folder / "err";
    const int status =
        std::system(("timeout 60 '" BIFRONS_PROGRAM "' " + verb + " <&- 2>'" + err + "'").c_str());
    CHECK(WEXITSTATUS(status) != 0);
    CHECK(WEXITSTATUS(status) < 4);  // timeout's is 124
    CHECK(ReadText(err).find("standard input: cannot read") != std::string::npos);
  }
}

}  // namespace
}  // namespace bifrons
