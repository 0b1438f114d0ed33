// An answer depends on its own pictures and question only: not on what is answered beside it, nor on the
// thread count, nor on when it joined.
#include <nlohmann/json.hpp>

#include "tests/run_program.h"
#include "tests/test_pictures.h"

namespace bifrons {
namespace {

const std::string kModel = (fs::path(BIFRONS_TEST_DIR) / "goldens/tiny-a/converted").string();

// Seven pictures of different sizes.
std::vector<std::string> WritePictures(const TemporaryFolder& folder) {
  const std::pair<int, int> sizes[] = {{12, 12}, {1, 1}, {3, 50}, {64, 64}, {17, 5}, {200, 31}, {40, 41}};
  std::vector<std::string> files;
  for (const auto& [width, height] : sizes) {
    files.push_back(folder / (std::to_string(width) + "x" + std::to_string(height) + ".png"));
    WriteTestPicture(files.back(), width, height, static_cast<uint32_t>(width + height));
  }
  return files;
}

// Text and tokens of every line.
std::vector<std::string> Answers(const ProgramResult& result) {
  std::vector<std::string> answers;
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line);
    answers.push_back(json["text"].get<std::string>() + json["tokens"].dump());
  }
  return answers;
}

TEST_CASE("captions of seven pictures are those of each alone, with any number of threads") {
  const TemporaryFolder folder;
  const std::vector<std::string> pictures = WritePictures(folder);
  for (const Arguments& settings : TestedArithmetic()) {
    INFO(Shown(settings));
    Arguments caption = Join({"caption", "--model", kModel, "--json", "--max-tokens", "9"}, settings);
    if (settings.back() == "bf16") caption = Join(caption, {"--temperature", "0.9", "--seed", "5"});
    std::vector<std::string> alone;
    for (const std::string& picture : pictures) {
      const auto answer = Answers(RunWell(Join(caption, {"--threads", "1", picture})));
      REQUIRE(answer.size() == 1);
      alone.push_back(answer[0]);
    }
    for (const char* threads : {"1", "2", "3"}) {
      INFO(threads << " threads");
      CHECK(Answers(RunWell(Join(Join(caption, {"--threads", threads}), pictures))) == alone);
    }
  }
}

}  // namespace
}  // namespace bifrons
