// Requests see images below one folder; of everything else they learn nothing, not even whether it is there.
#include "src/jobs/image_folder.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <set>

#include "src/jobs/picture_file.h"
#include "tests/job_files.h"
#include "tests/rendered.h"

namespace bifrons {
namespace {

std::string Picture() {
  const Image image{2, 2, std::vector<uint8_t>(12, 128)};
  const auto bytes = EncodePicture(image, PictureFormat::kPng, "").value();
  return {bytes.begin(), bytes.end()};
}

// A folder `in` among others, with everything that leads out of it.
class Tree {
 public:
  Tree() {
    for (const char* name : {"in", "in/sub", "in/other", "out", "in2"}) fs::create_directory(At(name));
    for (const char* name : {"in/a.png", "in/sub/b.png", "in/ .png", "out/secret.png", "in2/c.png"})
      WriteText(At(name), Picture());
    WriteText(At("in/text.png"), "no picture");
    WriteText(At("in/empty.png"), "");
    fs::create_symlink("sub/b.png", At("in/relative.png"));
    fs::create_symlink("../other", At("in/sub/other"));
    fs::create_symlink(At("in/sub/b.png"), At("in/absolute.png"));
    fs::create_symlink(At("in/sub"), At("in/folder"));
    fs::create_symlink(At("in"), At("alias"));
    fs::create_symlink("../out/secret.png", At("in/out1.png"));
    fs::create_symlink(At("out/secret.png"), At("in/out2.png"));
    fs::create_symlink("../out", At("in/out3"));
    fs::create_symlink("/", At("in/out4"));
    fs::create_symlink("missing.png", At("in/dangling.png"));
    fs::create_symlink("loop.png", At("in/loop.png"));
    mkfifo(At("in/fifo.png").c_str(), 0600);
  }
  std::string At(const std::string& name) const { return folder_ / name; }
  /// Without links on the way to the temporary folder.
  std::string Real(const std::string& name) const { return (fs::canonical(folder_.path()) / name).string(); }

 private:
  TemporaryFolder folder_;
};

Result<ImageFolder> In(const Tree& tree) { return ImageFolder::Open(tree.At("in")); }

TEST_CASE("files below the folder are read, by any name that leads to them") {
  const Tree tree;
  const ImageFolder folder = In(tree).value();
  for (const std::string& source :
       {std::string("a.png"), std::string("./a.png"), std::string("sub/b.png"), std::string("sub//b.png"),
        std::string("sub/../a.png"), std::string("sub/other/../a.png"), std::string(" .png"),
        std::string("relative.png"), std::string("absolute.png"), std::string("folder/b.png"),
        tree.At("in/a.png"), tree.Real("in/sub/b.png"), tree.Real("in//./a.png"),
        tree.Real("in/sub/../a.png"), tree.At("alias/a.png"), tree.At("alias/absolute.png"),
        std::string("data:image/png;base64,") +
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="}) {
    INFO(source);
    const auto image = folder.Load(source, {});
    INFO((image.ok() ? "" : image.error().message));
    CHECK(image.ok());
  }
  // "sub/other" is a link to the folder beside "sub": what it holds is what the system finds there.
  WriteText(tree.At("in/other/d.png"), Picture());
  CHECK(folder.Load("sub/other/d.png", {}).ok());
}

TEST_CASE("everything else has one error, whatever is there") {
  const Tree tree;
  const ImageFolder folder = In(tree).value();
  std::set<std::string> errors;
  const auto refused = [&](const std::string& source) {
    INFO(source.substr(0, 200));
    const auto image = folder.Load(source, {});
    REQUIRE_FALSE(image.ok());
    CHECK(image.error().kind == ErrorKind::kBadData);
    const std::string message = image.error().message;
    CHECK(message.find('\n') == std::string::npos);
    const size_t at = message.find(" is not ");
    REQUIRE(at != std::string::npos);
    errors.insert(message.substr(at));
  };
  for (const char* source : {"missing.png",
                             "missing/a.png",
                             "a.png/x.png",
                             "a.png/",
                             "",
                             ".",
                             "sub",
                             "sub/",
                             "..",
                             "../out",
                             "../out/secret.png",
                             "../out/missing.png",
                             "../in/a.png",
                             "../missing/../in/a.png",
                             "sub/../../out/secret.png",
                             "out1.png",
                             "out2.png",
                             "out3/secret.png",
                             "out3/missing.png",
                             "out3/../in/a.png",
                             "out4/etc/passwd",
                             "dangling.png",
                             "loop.png",
                             "fifo.png",
                             "/etc/passwd",
                             "/etc/missing",
                             "/etc",
                             "/",
                             "//",
                             "/dev/zero",
                             "/proc/self/environ",
                             "/proc/self/root/etc/passwd",
                             "C:\\pictures\\a.png",
                             "\\\\server\\a.png",
                             "sub\\b.png",
                             "~/a.png",
                             "a.png\n",
                             "%2e%2e/out/secret.png"})
    refused(source);
  refused(tree.At("out/secret.png"));
  refused(tree.At("out/missing.png"));
  refused(tree.At("in2/c.png"));  // begins as the folder's name does
  refused(tree.At("in/../out/secret.png"));
  refused(tree.At("out/../in/a.png"));      // tells whether `out` is there
  refused(tree.At("missing/../in/a.png"));  // as this would
  refused(tree.Real("in"));
  refused(std::string(300, 'x') + ".png");
  refused(std::string(5000, 'x'));
  std::string deep;
  for (int i = 0; i < 1'000'000; i++) deep += "a/";
  refused(deep);
  CHECK(errors.size() == 1);
}

TEST_CASE("no permission is the same error") {
  if (geteuid() == 0) return;  // may read everything
  const Tree tree;
  const ImageFolder folder = In(tree).value();
  REQUIRE(chmod(tree.At("in/a.png").c_str(), 0) == 0);
  CHECK(folder.Load("a.png", {}).error().message.substr(5) ==
        folder.Load("b.png", {}).error().message.substr(5));
}

TEST_CASE("a socket is the same error") {
  const Tree tree;
  const ImageFolder folder = In(tree).value();
  sockaddr_un address{AF_UNIX, ""};
  const std::string path = tree.At("in/s.png");
  REQUIRE(path.size() < sizeof address.sun_path);
  path.copy(address.sun_path, path.size());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  REQUIRE(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  CHECK(folder.Load("s.png", {}).error().message.substr(5) ==
        folder.Load("x.png", {}).error().message.substr(5));
  ::close(fd);
}

TEST_CASE("what a file below the folder is may be told") {
  const Tree tree;
  const ImageFolder folder = In(tree).value();
  CHECK_THAT(folder.Load("text.png", {}).error().message, Catch::StartsWith("text.png: not a picture"));
  CHECK_THAT(folder.Load("empty.png", {}).error().message, Catch::Contains("empty"));
}

TEST_CASE("the folder stays what it was when it was opened") {
  const Tree tree;
  const ImageFolder folder = In(tree).value();
  fs::rename(tree.At("in"), tree.At("moved"));
  fs::create_symlink("out", tree.At("in"));
  CHECK(folder.Load("a.png", {}).ok());
  CHECK_FALSE(folder.Load("secret.png", {}).ok());
}

TEST_CASE("no folder: no files") {
  const Tree tree;
  for (const std::string& source : {tree.At("in/a.png"), std::string("/etc/missing"), std::string("a.png")})
    CHECK_THAT(ImageFolder().Load(source, {}).error().message, Catch::Contains("--image-root"));
  for (const char* name : {"missing", "in/a.png", "in/loop.png", ""}) {
    const auto folder = ImageFolder::Open(*name ? tree.At(name) : "");
    REQUIRE_FALSE(folder.ok());
    CHECK(folder.error().kind == ErrorKind::kBadData);
  }
}

// ---- by the program

std::string Question(const std::string& id, const std::string& url) {
  return json(
             {{"custom_id", id},
              {"method", "POST"},
              {"url", "/v1/chat/completions"},
              {"body",
               {{"model", "m"},
                {"max_tokens", 2},
                {"messages", json::array({{{"role", "user"},
                                           {"content", json::array({{{"type", "image_url"},
                                                                     {"image_url", {{"url", url}}}}})}}})}}}})
             .dump() +
         "\n";
}

// Status by custom_id, and the message of what was refused.
std::map<std::string, std::pair<int, std::string>> Answers(const fs::path& folder) {
  std::map<std::string, std::pair<int, std::string>> answers;
  for (const json& line : JsonLines(folder / "output.jsonl")) {
    const json& response = line["response"];
    const int status = response["status_code"];
    answers[line["custom_id"]] = {
        status, status == 200 ? "" : response["body"]["error"]["message"].get<std::string>()};
  }
  return answers;
}

TEST_CASE("a batch shows images below its own folder, or below --image-root") {
  const Tree tree;
  const std::string list =
      Question("relative", "a.png") + Question("url", "file://" + tree.At("in/sub/b.png")) +
      Question("localhost", "FILE://LocalHost" + tree.At("in/a.png")) +
      Question("encoded", "file:" + tree.At("in/%61.png")) +
      Question("secret", "file://" + tree.At("out/secret.png")) +
      Question("missing", "file://" + tree.At("out/missing.png")) +
      Question("dots", "file://" + tree.At("in/%2e%2e/out/secret.png")) + Question("other", "c.png");
  WriteText(tree.At("in/list.jsonl"), list);
  WriteText(tree.At("list.jsonl"), list);
  const auto refusal = [](const auto& answer) {
    return answer.second.substr(answer.second.find(" is not "));
  };

  ProgramResult run = RunProgram(Render(tree.At("in/list.jsonl"), tree.At("answers")));
  INFO(run.err);
  CHECK(run.exit_code == 3);
  auto answers = Answers(tree.At("answers"));
  for (const char* id : {"relative", "url", "localhost", "encoded"}) CHECK(answers[id].first == 200);
  for (const char* id : {"secret", "missing", "dots", "other"}) {
    CHECK(answers[id].first == 400);
    CHECK(refusal(answers[id]) == refusal(answers["missing"]));
  }

  run = RunProgram(Render(tree.At("list.jsonl"), tree.At("others"), {"--image-root", tree.At("in2")}));
  CHECK(run.exit_code == 3);
  answers = Answers(tree.At("others"));
  for (const auto& [id, answer] : answers) CHECK(answer.first == (id == "other" ? 200 : 400));

  // A stream stands in no folder.
  run = RunProgram(Render("-", tree.At("stream")), list);
  CHECK(run.exit_code == 3);
  for (const auto& [id, answer] : Answers(tree.At("stream"))) {
    CHECK(answer.first == 400);
    CHECK_THAT(answer.second, Catch::Contains("--image-root"));
  }
  RunProgram(Render("/dev/stdin", tree.At("device")), list);
  for (const auto& [id, answer] : Answers(tree.At("device"))) CHECK(answer.first == 400);
  run = RunProgram(Render("-", tree.At("rooted"), {"--image-root", tree.At("alias")}), list);
  answers = Answers(tree.At("rooted"));
  for (const char* id : {"relative", "url", "localhost", "encoded"}) CHECK(answers[id].first == 200);
  for (const char* id : {"secret", "missing", "dots", "other"}) CHECK(answers[id].first == 400);

  run = RunProgram(Render("-", tree.At("none"), {"--image-root", tree.At("missing")}), list);
  CHECK(run.exit_code == 3);
  CHECK_THAT(run.err, Catch::Contains("missing"));
  CHECK_FALSE(fs::exists(tree.At("none")));
}

}  // namespace
}  // namespace bifrons
