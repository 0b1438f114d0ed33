// bifrons chat with a script for stdin.
#include "src/model/text/tokenizer.h"
#include "src/model/text/utf8.h"
#include "tests/golden_files.h"
#include "tests/test_pictures.h"

namespace bifrons {
namespace {

Arguments Chat(const std::string& model) {
  return {"chat", "--model", (kGoldens / model).string(), "--dtype", "f32", "--max-tokens", "12"};
}

std::string TextOf(const std::string& model, const fs::path& tokens) {
  const auto tokenizer = Tokenizer::Load((kGoldens / model).string());
  REQUIRE(tokenizer.ok());
  return std::string(StripPythonWhitespace(tokenizer->Decode(Ints(tokens), true)));
}

TEST_CASE("two questions about two pictures get the reference's answers") {
  for (const std::string name : {"tiny-a", "tiny-b", "tiny-c"}) {
    const fs::path golden = kGoldens / name / "understanding";
    const auto json = nlohmann::json::parse(ReadText(golden / "golden.json"));
    const std::string first = json["second_turn"]["answer"];
    const std::string second = TextOf(name + "/original", golden / "chat_answer.npy");
    const std::string pictures = (kGoldens / "pictures").string();
    const ProgramResult result = RunWell(
        Chat(name + "/original"), "/image " + pictures + "/wide.png\nWhat is on the picture?\n/image " +
                                      pictures + "/tall.png\nAnd on this one? 2 Äpfel\n/quit\nnot this\n");
    INFO(result.out);
    const size_t at = result.out.find(first);
    REQUIRE(at != std::string::npos);
    CHECK(result.out.find(second, at + first.size()) != std::string::npos);
  }
}

TEST_CASE("a chat goes on after what it cannot do") {
  const TemporaryFolder folder;
  WriteText(folder / "broken.png", "no picture");
  const std::string alone = RunWell(Chat("tiny-a/converted"), "a dog?\n").out;
  CHECK(!alone.empty());
  std::string long_line(100'000, 'x');
  for (const std::string& wrong :
       {"/image " + (folder / "none.png"), "/image " + (folder / "broken.png"),
        "/image " + folder.path().string(), std::string("/image"), std::string("/nonsense"),
        std::string("/draw"), std::string("quit"), long_line}) {
    const ProgramResult result = RunProgram(Chat("tiny-a/converted"), wrong + "\na dog?\n");
    INFO(wrong.substr(0, 100) << "\nout: " << result.out << "\nerr: " << result.err.substr(0, 1000));
    CHECK(result.exit_code == 1);
    CHECK(!result.err.empty());
    CHECK(result.out == alone);
  }
}

TEST_CASE("a path may stand in quotes") {
  const TemporaryFolder folder;
  const std::string picture = folder / "my dog.png";
  WriteTestPicture(picture, 40, 30, 1);
  const std::string plain = RunWell(Chat("tiny-a/converted"), "/image " + picture + "\na dog?\n").out;
  for (const std::string quote : {"'", "\""})
    CHECK(RunWell(Chat("tiny-a/converted"), "/image " + quote + picture + quote + "\na dog?\n").out == plain);
}

TEST_CASE("a chat ends with its input") {
  using namespace std::string_literals;
  for (const std::string input : {"", "\n", "/quit", "/quit\n", "\n\n/quit\n", "/exit\n"}) {
    const ProgramResult result = RunWell(Chat("tiny-a/converted"), input);
    CHECK(result.out.find_first_not_of("\n") == std::string::npos);
  }
  const std::string whole = RunWell(Chat("tiny-a/converted"), "a dog?\n").out;
  CHECK(RunWell(Chat("tiny-a/converted"), "a dog?").out == whole);
  CHECK(RunWell(Chat("tiny-a/converted"), "a dog?\r\n").out == whole);
  RunWell(Chat("tiny-a/converted"), "bytes \xff\xfe and a zero \0 there\n"s);
}

}  // namespace
}  // namespace bifrons
